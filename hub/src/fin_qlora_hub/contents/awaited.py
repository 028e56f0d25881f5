"""Contents of mirrored repositories that are on their way, and where the other hub has them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.errors import NotFetchedError
from fin_qlora_hub.metadata.tables import Mirror, MirrorContent, Repository, StoredFile
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.stores.holding import hold

_VALUES_PER_QUERY = 500
_mirrors, _contents = Mirror.__table__.c, MirrorContent.__table__.c
# Built once: every download runs it.
_TO_COME = (
    select(_contents.size)
    .join_from(Mirror.__table__, MirrorContent.__table__, _contents.mirror_id == _mirrors.id)
    .where(
        _mirrors.repository_id == bindparam("repository"),
        _contents.sha256 == bindparam("sha256"),
        _contents.fetched_at.is_(None),
    )
)


@dataclass(frozen=True)
class Awaited:
    """A content of a mirrored repository, and the path and commit where the other hub has it."""

    content: Content
    path: str
    oid: str


def is_to_come(session: Session, repository_id: int, sha256: str) -> bool:
    """Say whether a mirrored repository names a content that it does not hold yet."""
    values = {"repository": repository_id, "sha256": sha256}
    return session.connection().scalar(_TO_COME, values) is not None


def find_awaited(
    session: Session, repository_id: int, sha256: str
) -> tuple[int, RepositoryName, Awaited] | None:
    """Return a content that a mirrored repository names and that is not here yet.

    Before it stand the number of the mirror that brings it, and the repository's name.
    """
    row = session.execute(
        select(Mirror, MirrorContent, Repository)
        .join(MirrorContent, MirrorContent.mirror_id == Mirror.id)
        .join(Repository, Repository.id == Mirror.repository_id)
        .where(
            Mirror.repository_id == repository_id,
            MirrorContent.sha256 == sha256,
            MirrorContent.fetched_at.is_(None),
        )
    ).first()
    if row is None:
        return None
    mirror, content, repository = row
    name = RepositoryName(Kind(mirror.kind), repository.namespace.name, repository.name)
    return mirror.id, name, _awaited(content)


def to_come(session: Session, mirror_id: int) -> list[Awaited]:
    """Return the contents that visible revisions of a mirror name and that are not here yet."""
    query = select(MirrorContent).where(
        MirrorContent.mirror_id == mirror_id, MirrorContent.fetched_at.is_(None)
    )
    return list(map(_awaited, session.scalars(query)))


def still_to_come(session: Session, mirror_id: int, sha256: str) -> bool:
    """Say whether a content of a visible revision has still not come."""
    row = session.get(MirrorContent, (mirror_id, sha256))
    return row is not None and row.fetched_at is None


def known_contents(session: Session, mirror: Mirror) -> list[Content]:
    """Return all contents that came from the other hub, of revisions that are here or not yet."""
    fetched = select(MirrorContent.sha256, MirrorContent.git_sha1, MirrorContent.size).where(
        MirrorContent.mirror_id == mirror.id, MirrorContent.fetched_at.is_not(None)
    )
    held = select(StoredFile.sha256, StoredFile.git_sha1, StoredFile.size).where(
        StoredFile.repository_id == mirror.repository_id
    )
    return [
        Content(sha256, git_sha1, size)
        for query in (fetched, held)
        for sha256, git_sha1, size in session.execute(query)
    ]


def stored_bytes(session: Session, mirror: Mirror | None = None) -> int:
    """Return the bytes that a mirror has brought here, or all of them."""
    held = select(func.coalesce(func.sum(Repository.stored_bytes), 0)).join(
        Mirror, Mirror.repository_id == Repository.id
    )
    fetched = select(func.coalesce(func.sum(MirrorContent.size), 0)).where(
        MirrorContent.fetched_at.is_not(None)
    )
    if mirror is not None:
        held = held.where(Mirror.id == mirror.id)
        fetched = fetched.where(MirrorContent.mirror_id == mirror.id)
    return int(session.scalar(held) or 0) + int(session.scalar(fetched) or 0)


def note_fetched(session: Session, mirror_id: int, fetched: Iterable[Awaited]) -> None:
    """Remember contents that are in the store, so that nobody fetches them again."""
    now = datetime.now(UTC)
    for one in fetched:
        session.merge(_row(mirror_id, one, fetched_at=now))


def note_to_come(session: Session, mirror_id: int, missing: Iterable[Awaited]) -> None:
    """Remember where the contents are that are fetched only when somebody asks for them."""
    for one in missing:
        session.merge(_row(mirror_id, one, fetched_at=None))


def arrived(session: Session, mirror: Mirror, contents: Sequence[Content]) -> None:
    """Let a mirrored repository hold contents that are in the store; they are awaited no more."""
    assert mirror.repository_id is not None
    for content in contents:
        hold(session, mirror.repository_id, content)
    for start in range(0, len(contents), _VALUES_PER_QUERY):
        part = [content.sha256 for content in contents[start : start + _VALUES_PER_QUERY]]
        mine = MirrorContent.mirror_id == mirror.id
        session.execute(delete(MirrorContent).where(mine, MirrorContent.sha256.in_(part)))


def require_whole(session: Session, repository: Repository) -> None:
    """Raise NotFetchedError for a mirrored repository some of whose files are not here yet."""
    missing = session.scalar(
        select(MirrorContent.path)
        .join(Mirror, Mirror.id == MirrorContent.mirror_id)
        .where(Mirror.repository_id == repository.id, MirrorContent.fetched_at.is_(None))
        .limit(1)
    )
    if missing is not None:
        name = f"{repository.namespace.name}/{repository.name}"
        raise NotFetchedError(
            f"{missing} of {name} is not on this hub yet: an administrator can fetch all of it "
            f"with `fin-qlora-hub mirror add {name}`."
        )


def _awaited(row: MirrorContent) -> Awaited:
    return Awaited(Content(row.sha256, row.git_sha1, row.size), row.path, row.commit_oid)


def _row(mirror_id: int, one: Awaited, *, fetched_at: datetime | None) -> MirrorContent:
    return MirrorContent(
        mirror_id=mirror_id,
        sha256=one.content.sha256,
        git_sha1=one.content.git_sha1,
        size=one.content.size,
        path=one.path,
        commit_oid=one.oid,
        fetched_at=fetched_at,
    )
