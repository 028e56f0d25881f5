"""The tables of the metadata; `migrations` makes them, and a test compares the two."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A moment, kept as UTC and always given back with its zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Drop the zone after moving to UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The common parent of the tables; every constraint has a name by which it can be changed."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcTime,
        dict[str, Any]: JSON,
        list[str]: JSON(none_as_null=True),
    }


class Namespace(Base):
    """A user or an organization: the part of a repository id before the slash."""

    __tablename__ = "namespaces"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(96))
    name_key: Mapped[str] = mapped_column(String(96), unique=True)
    kind: Mapped[str] = mapped_column(String(8))
    full_name: Mapped[str] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime]
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)


class Membership(Base):
    """What a user may do in an organization: read, write or admin."""

    __tablename__ = "memberships"

    organization_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(8))


class Token(Base):
    """Something that lets a program act as a user: an access token, known only by its digest,
    or a sign-in, whose secrets are rows of their own.

    `reach` lists what it is limited to; empty means everything that the user may do. `approved_by`
    is the token by which a sign-in was approved, and with which it ends.
    """

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("namespaces.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(8))
    lookup: Mapped[str] = mapped_column(String(16), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(String(8), server_default="access")
    reach: Mapped[list[str] | None]
    client_id: Mapped[str | None] = mapped_column(String(100))
    approved_by: Mapped[int | None] = mapped_column(index=True)
    last_used_at: Mapped[datetime | None]


class IssuedSecret(Base):
    """An access or refresh token of a sign-in; one that was `used` has been exchanged already."""

    __tablename__ = "issued_secrets"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("tokens.id", ondelete="CASCADE"), index=True)
    lookup: Mapped[str] = mapped_column(String(16), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class DeviceRequest(Base):
    """A program's wish to act as somebody, until they approve or deny it in a browser."""

    __tablename__ = "device_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    user_code: Mapped[str] = mapped_column(String(8), unique=True)
    client_id: Mapped[str] = mapped_column(String(100))
    address: Mapped[str] = mapped_column(String(64))
    agent: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(8))
    token_id: Mapped[int | None] = mapped_column(
        ForeignKey("tokens.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class ExternalIdentity(Base):
    """Whom an OpenID provider knows by `subject`, once they have signed on here."""

    __tablename__ = "external_identities"

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime]


LISTED = ("namespace_id", "kind", "private", "updated_at", "created_at", "downloads")


_WHERE_GATED: Any = dict.fromkeys(("sqlite_where", "postgresql_where"), text("gated IS NOT NULL"))


def _list_indexes(table: str, *first: str, last: str) -> Iterator[Index]:
    """Make those in whose order lists are read: of what is public, and of one namespace."""
    namespace, *part = LISTED[:3]
    for key in LISTED[3:]:
        yield Index(f"ix_{table}_public_{key}", *first, *part, key, last)
        yield Index(f"ix_{table}_namespace_{key}", *first, namespace, *part, key, last)


class Repository(Base):
    """A model or data-set repository with what its newest card says of it.

    `card` is what lists show; `card_details`, which may be long, is read only where it is asked.
    """

    __tablename__ = "repositories"
    __table_args__ = (
        UniqueConstraint("kind", "namespace_id", "name_key"),
        # The tags refer to all of it, and follow every change.
        Index("ix_repositories_listed", "id", *LISTED, unique=True),
        *_list_indexes("repositories", last="id"),
        Index("ix_repositories_gated", "gated", **_WHERE_GATED),
        Index("ix_repositories_stored_bytes", "namespace_id", "stored_bytes"),
        {"sqlite_autoincrement": True},  # the number of a removed repository never comes back
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    namespace_id: Mapped[int] = mapped_column(ForeignKey("namespaces.id"))
    name: Mapped[str] = mapped_column(String(96))
    name_key: Mapped[str] = mapped_column(String(96))
    private: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    downloads: Mapped[int] = mapped_column(default=0)
    gated: Mapped[str | None] = mapped_column(String(8))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    card: Mapped[dict[str, Any]]
    card_details: Mapped[dict[str, Any]] = mapped_column(deferred=True)

    namespace: Mapped[Namespace] = relationship(lazy="joined")


class RepositoryTag(Base):
    """A tag by which a repository can be listed, such as `base_model:adapter:ID`.

    It repeats what lists are chosen and sorted by; the database itself keeps the two the same.
    """

    __tablename__ = "repository_tags"
    __table_args__ = (
        ForeignKeyConstraint(
            ["repository_id", *LISTED],
            [f"repositories.{name}" for name in ("id", *LISTED)],
            name="fk_repository_tags_repository_id_repositories",
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        *_list_indexes("repository_tags", "tag", last="repository_id"),
    )

    repository_id: Mapped[int] = mapped_column(primary_key=True)
    tag: Mapped[str] = mapped_column(String(255), primary_key=True)
    namespace_id: Mapped[int]
    kind: Mapped[str] = mapped_column(String(8))
    private: Mapped[bool]
    updated_at: Mapped[datetime]
    created_at: Mapped[datetime]
    downloads: Mapped[int]


class NameEnd(Base):
    """An end of a repository's full name in lower case: whatever stands in a name begins one."""

    __tablename__ = "name_ends"
    __table_args__ = ({"sqlite_with_rowid": False},)

    ending: Mapped[str] = mapped_column(String(32), primary_key=True)
    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class EvaluationResult(Base):
    """A number that a model tells of itself, by which a data set ranks it.

    `dataset_key` is the id of the data set in lower case, which this hub need not have.
    """

    __tablename__ = "evaluation_results"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    dataset_key: Mapped[str] = mapped_column(String(193), index=True)
    task: Mapped[str] = mapped_column(String(255))
    value: Mapped[float] = mapped_column(Double)
    filename: Mapped[str]
    data: Mapped[dict[str, Any]]


class Reference(Base):
    """A branch (`refs/heads/...`) or tag (`refs/tags/...`) and the commit that it names."""

    __tablename__ = "refs"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    commit_oid: Mapped[str] = mapped_column(String(40))
    message: Mapped[str | None]
    created_at: Mapped[datetime]


class Commit(Base):
    """One state of a repository, its author, the state before it, and the digest of the request."""

    __tablename__ = "commits"
    __table_args__ = (Index(None, "repository_id", "request_digest"),)

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    oid: Mapped[str] = mapped_column(String(40), primary_key=True)
    tree_oid: Mapped[str] = mapped_column(String(40))
    parent_oid: Mapped[str | None] = mapped_column(String(40))
    author: Mapped[str] = mapped_column(String(96))
    title: Mapped[str]
    message: Mapped[str]
    request_digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]


class TreeEntry(Base):
    """One file or folder of a folder; kept per repository so that nothing leaks across.

    `tree_oid` is the git id of the folder that holds the entry, `oid` that of the entry. A folder
    has no content: `sha256` and what follows it are empty.
    """

    __tablename__ = "tree_entries"
    __table_args__ = ({"sqlite_with_rowid": False},)

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    tree_oid: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    oid: Mapped[str] = mapped_column(String(40))
    sha256: Mapped[str | None] = mapped_column(String(64))
    git_sha1: Mapped[str | None] = mapped_column(String(40))
    size: Mapped[int | None] = mapped_column(BigInteger)
    large: Mapped[bool | None]


class StoredFile(Base):
    """A content that was uploaded to a repository, which may therefore name it by its hash."""

    __tablename__ = "files"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    git_sha1: Mapped[str | None] = mapped_column(String(40))
    size: Mapped[int] = mapped_column(BigInteger)
    sent_at: Mapped[datetime] = mapped_column(default=lambda: datetime.now(UTC))


class Reservation(Base):
    """Bytes that a namespace has announced or sent and that no repository holds yet."""

    __tablename__ = "reservations"

    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    ends_at: Mapped[datetime]


class HubState(Base):
    """One of the few facts about the hub itself, such as the key with which it signs."""

    __tablename__ = "hub_state"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str]


class AuditRecord(Base):
    """An act on record. The database itself refuses to change or remove one.

    Names are those of the moment, and nothing refers to other tables: the record outlives all that
    it is about. `former` is the digest of the record before.
    """

    __tablename__ = "audit_records"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(index=True)
    act: Mapped[str] = mapped_column(String(48))
    means: Mapped[str] = mapped_column(String(8))
    actor: Mapped[str | None] = mapped_column(String(255), index=True)
    token: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[str | None] = mapped_column(String(64))
    request: Mapped[str | None] = mapped_column(String(128))
    repository_id: Mapped[int | None] = mapped_column(index=True)
    repository: Mapped[str | None] = mapped_column(String(255), index=True)
    details: Mapped[dict[str, Any]]
    former: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))


class Webhook(Base):
    """Where somebody wants to be told of what happens to repositories that they may read.

    `watched` holds types and names, and the number of a repository that was known by its name.
    Records up to the number `since` are older than the webhook. `failures` counts those in a row.
    """

    __tablename__ = "webhooks"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), index=True
    )
    url: Mapped[str]
    secret: Mapped[str | None]
    watched: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    domains: Mapped[list[str]] = mapped_column(JSON)
    disabled: Mapped[bool]
    since: Mapped[int] = mapped_column(BigInteger)
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class WebhookDelivery(Base):
    """One record that one webhook is told of, and what became of it."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "sequence"),
        Index(None, "status", "due_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    sequence: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(10))
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    answer: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime]


class Xorb(Base):
    """A run of packed chunks on the disk; `size` is without the index that stands behind them."""

    __tablename__ = "xorbs"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    chunks: Mapped[int]
    created_at: Mapped[datetime]


class XorbOwner(Base):
    """A namespace that has sent the whole of a xorb, and when it last sent or was told of it."""

    __tablename__ = "xorb_owners"

    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True
    )
    xorb: Mapped[str] = mapped_column(
        ForeignKey("xorbs.hash", ondelete="CASCADE"), primary_key=True, index=True
    )
    touched_at: Mapped[datetime]


class XetFile(Base):
    """A file that a repository received in chunks, verified against both of its hashes."""

    __tablename__ = "xet_files"
    __table_args__ = (
        UniqueConstraint("repository_id", "sha256"),
        Index(None, "repository_id", "file_hash"),
        Index(None, "file_hash"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    repository_id: Mapped[int] = mapped_column(ForeignKey("repositories.id", ondelete="CASCADE"))
    sha256: Mapped[str] = mapped_column(String(64))
    file_hash: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class XetSegment(Base):
    """The chunks of one xorb, from `chunk_start` up to `chunk_end`, that are a part of a file."""

    __tablename__ = "xet_segments"
    __table_args__ = ({"sqlite_with_rowid": False},)

    file_id: Mapped[int] = mapped_column(
        ForeignKey("xet_files.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    xorb: Mapped[str] = mapped_column(ForeignKey("xorbs.hash"), index=True)
    chunk_start: Mapped[int]
    chunk_end: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)


class XetChunk(Base):
    """A chunk about which clients ask, and the newest file of the namespace that holds it."""

    __tablename__ = "xet_chunks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True
    )
    chunk: Mapped[str] = mapped_column(String(64), primary_key=True)
    file_id: Mapped[int] = mapped_column(ForeignKey("xet_files.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]


class Discussion(Base):
    """A discussion or pull request; the latter has a branch of its own, `refs/pr/NUM`.

    `base` is the branch into which it would go, `base_oid` where that was when it was opened.
    """

    __tablename__ = "discussions"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    num: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author: Mapped[str] = mapped_column(String(96))
    status: Mapped[str] = mapped_column(String(8))
    is_pull_request: Mapped[bool]
    base: Mapped[str | None] = mapped_column(String(300))
    base_oid: Mapped[str | None] = mapped_column(String(40))
    merge_oid: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]


class DiscussionEvent(Base):
    """Something that happened in a discussion: a comment, a commit, another title or status."""

    __tablename__ = "discussion_events"
    __table_args__ = (
        ForeignKeyConstraint(
            ["repository_id", "num"],
            ["discussions.repository_id", "discussions.num"],
            ondelete="CASCADE",
        ),
    )

    repository_id: Mapped[int] = mapped_column(primary_key=True)
    num: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(24))
    kind: Mapped[str] = mapped_column(String(16))
    author: Mapped[str] = mapped_column(String(96))
    created_at: Mapped[datetime]
    content: Mapped[dict[str, Any]]


class ProtectedReference(Base):
    """A branch or tag that nobody may move or remove, and who said so."""

    __tablename__ = "protected_refs"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    protected_by: Mapped[str] = mapped_column(String(96))
    created_at: Mapped[datetime]


class Hold(Base):
    """A repository of which nothing may be lost, and why."""

    __tablename__ = "holds"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    reason: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[datetime]


class FormerName(Base):
    """A name that a repository had before it was moved or removed.

    It leads to the repository still, or to none: nobody shall get another's files under a name that
    they know.
    """

    __tablename__ = "former_names"

    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True
    )
    name_key: Mapped[str] = mapped_column(String(96), primary_key=True)
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="SET NULL"), index=True
    )


class AccessRequest(Base):
    """Somebody's wish to have the files of a gated repository, and what became of it."""

    __tablename__ = "access_requests"

    repository_id: Mapped[int] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), primary_key=True
    )
    status: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime]
    rejection_reason: Mapped[str | None]


class Collection(Base):
    """A shelf of repositories that a namespace keeps, in its own order."""

    __tablename__ = "collections"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    namespace_id: Mapped[int] = mapped_column(
        ForeignKey("namespaces.id", ondelete="CASCADE"), index=True
    )
    title: Mapped[str] = mapped_column(String(60))
    description: Mapped[str] = mapped_column(String(150))
    private: Mapped[bool]
    theme: Mapped[str] = mapped_column(String(8))
    position: Mapped[int]
    updated_at: Mapped[datetime]

    namespace: Mapped[Namespace] = relationship(lazy="joined")


class CollectionItem(Base):
    """A repository in a collection, or another collection, and what is said of it there."""

    __tablename__ = "collection_items"
    __table_args__ = (
        UniqueConstraint("collection_id", "repository_id"),
        UniqueConstraint("collection_id", "held_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), index=True
    )
    held_id: Mapped[int | None] = mapped_column(
        ForeignKey("collections.id", ondelete="CASCADE"), index=True
    )
    position: Mapped[int]
    note: Mapped[str] = mapped_column(String(500))


class Mirror(Base):
    """A repository of another hub that this one mirrors, once it is here in `repository_id`.

    A `whole` one has all files of its revisions and moves when it is told to; of the others, large
    files come when somebody asks for them.
    """

    __tablename__ = "mirrors"
    __table_args__ = (UniqueConstraint("kind", "namespace_id", "name_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    namespace_id: Mapped[int] = mapped_column(ForeignKey("namespaces.id", ondelete="CASCADE"))
    name_key: Mapped[str] = mapped_column(String(96))
    repository_id: Mapped[int | None] = mapped_column(
        ForeignKey("repositories.id", ondelete="CASCADE"), unique=True
    )
    upstream: Mapped[str]
    whole: Mapped[bool]
    created_at: Mapped[datetime]


class MirrorRevision(Base):
    """A branch, tag or commit that is followed, where it was, and what went wrong since."""

    __tablename__ = "mirror_revisions"

    mirror_id: Mapped[int] = mapped_column(
        ForeignKey("mirrors.id", ondelete="CASCADE"), primary_key=True
    )
    revision: Mapped[str] = mapped_column(String(300), primary_key=True)
    commit_oid: Mapped[str] = mapped_column(String(40))
    checked_at: Mapped[datetime]
    problem: Mapped[str | None]


class MirrorContent(Base):
    """A content on its way: not fetched yet, or fetched for a revision that is not here yet.

    `path` in `commit_oid` is where the other hub has it.
    """

    __tablename__ = "mirror_contents"

    mirror_id: Mapped[int] = mapped_column(
        ForeignKey("mirrors.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    git_sha1: Mapped[str | None] = mapped_column(String(40))
    size: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]
    commit_oid: Mapped[str] = mapped_column(String(40))
    fetched_at: Mapped[datetime | None]
