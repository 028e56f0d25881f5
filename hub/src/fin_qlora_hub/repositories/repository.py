"""Repositories: making, changing, moving and removing them, what they hold, and who may."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import (
    Caller,
    Role,
    find_namespace,
    role_for,
    role_in,
    role_under,
)
from fin_qlora_hub.access.names import check_repository_name
from fin_qlora_hub.access.protection import require_loose, require_removable
from fin_qlora_hub.access.visibility import Kind as Kind
from fin_qlora_hub.access.visibility import RepositoryName as RepositoryName
from fin_qlora_hub.access.visibility import open_readable as open_readable
from fin_qlora_hub.access.visibility import signed_in
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import place_of, record
from fin_qlora_hub.cards.card import Card
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    NotFoundError,
    RepositoryNotFoundError,
)
from fin_qlora_hub.git.references import Revision, look_up
from fin_qlora_hub.git.trees import FileEntry, all_files
from fin_qlora_hub.metadata.quotas import quota_of, require_room
from fin_qlora_hub.metadata.tables import (
    FormerName,
    Namespace,
    Repository,
    XetChunk,
    XetFile,
)
from fin_qlora_hub.repositories.commits import begin_history
from fin_qlora_hub.repositories.finding import keep_name
from fin_qlora_hub.text import quoted


@dataclass(frozen=True)
class Contents:
    """One revision of a repository; `used_storage` is in bytes, over all revisions."""

    commit: Revision
    files: Mapping[str, FileEntry]
    used_storage: int


_repositories = Repository.__table__.c
_STORED = select(_repositories.stored_bytes).where(_repositories.id == bindparam("repository"))


def read_name(text: str) -> RepositoryName:
    """Read `namespace/name` or `datasets/namespace/name`; raises BadRequestError."""
    *kind, namespace, name = ["", "", *text.split("/")][-3:]
    if kind not in ([""], ["models"], ["datasets"]) or not namespace or text.count("/") > 2:
        raise BadRequestError(
            f"{quoted(text)} names no repository: write NAMESPACE/NAME or datasets/NAMESPACE/NAME."
        )
    return RepositoryName(Kind.DATASET if kind == ["datasets"] else Kind.MODEL, namespace, name)


def full_name(repository: Repository) -> str:
    """Return the id of a repository in the case in which it was made."""
    return f"{repository.namespace.name}/{repository.name}"


def create(
    session: Session,
    storage: Storage,
    wanted: RepositoryName,
    *,
    private: bool,
    caller: Caller | None,
) -> Repository:
    """Make a repository with its first commit."""
    caller = signed_in(caller)
    repository = claim(session, wanted, private=private, caller=caller)
    first = begin_history(session, storage, repository, author=caller)
    record(session, Act.REPOSITORY_CREATED, repository, private=private, commit=first.oid)
    return repository


def claim(
    session: Session, wanted: RepositoryName, *, private: bool, caller: Caller | None
) -> Repository:
    """Take a name for a repository that is to have a history."""
    caller = signed_in(caller)
    named = (wanted.kind, wanted.name)
    namespace, role = role_under(session, caller, wanted.namespace, of=named)
    if namespace is None or role is None or not role.writes:
        # One answer for what is not there and what is not theirs.
        raise ForbiddenError(
            f"You don't have the rights to create a {wanted.kind} under the namespace "
            f"{quoted(wanted.namespace)}: it needs the role 'write' and a token with the role "
            "'write'."
        )
    check_repository_name(wanted.name)
    if _find(session, wanted) is not None:
        raise AlreadyExistsError(f"You already created this {wanted.kind} repo: {wanted}")
    _require_free(session, wanted, namespace, role=role)
    return add_empty(session, wanted, namespace, private=private)


def add_empty(
    session: Session, wanted: RepositoryName, namespace: Namespace, *, private: bool
) -> Repository:
    """Make a repository that has no branch yet, under a name that is free."""
    _forget_former(session, wanted, namespace)
    now = datetime.now(UTC)
    repository = Repository(
        kind=wanted.kind,
        namespace=namespace,
        name=wanted.name,
        name_key=wanted.name.lower(),
        private=private,
        created_at=now,
        updated_at=now,
        card=Card().summary(),
        card_details=Card().details(),
    )
    session.add(repository)
    keep_name(session, repository)
    return repository


def open_writable(session: Session, wanted: RepositoryName, caller: Caller | None) -> Repository:
    """Return a repository that the caller may change."""
    caller = signed_in(caller)
    repository = open_readable(session, wanted, caller)
    role = role_for(session, caller, repository)
    if role is None or not role.writes:
        needed = (
            "a token with the role 'write'"
            if caller.token_role is Role.READ
            else f"the role 'write' in {repository.namespace.name!r}"
        )
        raise ForbiddenError(f"You may read {wanted} but not change it: that needs {needed}.")
    return repository


def open_administered(
    session: Session, wanted: RepositoryName, caller: Caller | None
) -> Repository:
    """Return a repository whose namespace the caller administers."""
    repository = open_writable(session, wanted, caller)
    if role_in(session, signed_in(caller), repository.namespace) is not Role.ADMIN:
        raise ForbiddenError(
            f"You may change {wanted}, but this needs the role 'admin' in "
            f"{repository.namespace.name!r}."
        )
    return repository


def list_owned(
    session: Session, namespace: str | None, *, caller: Caller | None, after: int, limit: int
) -> tuple[Sequence[Repository], int | None]:
    """Return the repositories of a namespace (the caller's own by default) and its quota in bytes.

    Those after a number, by their numbers, at most `limit`; only for those with a role there.
    """
    caller = signed_in(caller)
    owner, _ = role_under(session, caller, namespace or caller.name)
    if owner is None:
        raise NotFoundError("There is no such organization.")
    query = (
        select(Repository)
        .where(Repository.namespace_id == owner.id, Repository.id > after)
        .order_by(Repository.id)
        .limit(limit)
    )
    return session.scalars(query).all(), quota_of(session, owner.id)


def set_visibility(session: Session, repository: Repository, *, private: bool) -> None:
    """Show a repository to every user of the hub, or only to its namespace."""
    if repository.private != private:
        require_loose(session, repository)
        repository.private = private
        record(session, Act.VISIBILITY_CHANGED, repository, private=private)


def move(
    session: Session, source: RepositoryName, target: RepositoryName, *, caller: Caller | None
) -> None:
    """Give a repository another name; the old one leads to it."""
    caller = signed_in(caller)
    repository = open_writable(session, source, caller)
    named = (target.kind, target.name)
    namespace, role = role_under(session, caller, target.namespace, of=named)
    if namespace is None or role is None or not role.writes:
        raise ForbiddenError(
            f"You don't have the rights to move a {target.kind} to the namespace "
            f"{quoted(target.namespace)}: it needs the role 'write'."
        )
    check_repository_name(target.name)
    other = _find(session, target)
    if other is not None and other.id != repository.id:
        raise AlreadyExistsError(
            f"A {target.kind} repository called {target} already exists: choose another name."
        )
    require_loose(session, repository)
    _require_free(session, target, namespace, role=role, repository=repository)
    if namespace.id != repository.namespace_id:
        require_room(session, namespace.id, repository.stored_bytes)
    _forget_former(session, target, namespace)
    former = place_of(repository).name
    old_namespace, old_key = repository.namespace_id, repository.name_key
    new_key = target.name.lower()
    if (old_namespace, old_key) != (namespace.id, new_key):
        session.merge(
            FormerName(
                kind=repository.kind,
                namespace_id=old_namespace,
                name_key=old_key,
                repository_id=repository.id,
            )
        )
    repository.namespace, repository.name, repository.name_key = namespace, target.name, new_key
    keep_name(session, repository)
    if old_namespace != namespace.id:
        # Another namespace's clients must not be told of chunks that it has not sent.
        files = select(XetFile.id).filter_by(repository_id=repository.id)
        session.execute(delete(XetChunk).where(XetChunk.file_id.in_(files)))
    record(session, Act.REPOSITORY_MOVED, repository, former=former)


def _require_free(
    session: Session,
    name: RepositoryName,
    namespace: Namespace,
    *,
    role: Role,
    repository: Repository | None = None,
) -> None:
    """Raise an error where a name was another repository's: who knows it must not be deceived."""
    former = session.get(FormerName, (name.kind, namespace.id, name.name.lower()))
    if former is None or (repository is not None and former.repository_id == repository.id):
        return
    if former.repository_id is not None:
        raise AlreadyExistsError(
            f"A {name.kind} repository called {name} already exists: it was moved, and the name "
            "leads to it still. Choose another name, or let an administrator of the hub free this "
            "one with `fin-qlora-hub free-name`."
        )
    if role is not Role.ADMIN:
        raise ForbiddenError(
            f"{name} was the name of a repository that is gone: only an administrator of "
            f"{namespace.name!r} may use it again. Choose another name."
        )


def free_name(session: Session, name: RepositoryName) -> None:
    """Let a name that was moved away from, or removed, be used by anyone who may write there."""
    namespace = find_namespace(session, name.namespace)
    key = name.name.lower()
    former = session.get(FormerName, (name.kind, namespace.id, key)) if namespace else None
    if former is None:
        raise NotFoundError(f"{name} is not kept: no {name.kind} repository was called that.")
    session.delete(former)
    record(session, Act.NAME_FREED, kind=name.kind, name=str(name))


def _forget_former(session: Session, name: RepositoryName, namespace: Namespace) -> None:
    former = session.get(FormerName, (name.kind, namespace.id, name.name.lower()))
    if former is not None:
        session.delete(former)


def remove(session: Session, repository: Repository) -> None:
    """Remove a repository with its history; contents that no one else uses become garbage."""
    require_removable(session, repository)
    private, owner = repository.private, repository.namespace_id
    record(session, Act.REPOSITORY_DELETED, repository, private=private, owner=owner)
    session.execute(
        update(FormerName).filter_by(repository_id=repository.id).values(repository_id=None)
    )
    session.merge(
        FormerName(
            kind=repository.kind,
            namespace_id=repository.namespace_id,
            name_key=repository.name_key,
            repository_id=None,
        )
    )
    session.delete(repository)


def contents(session: Session, repository_id: int, revision: str) -> Contents:
    """Return what a repository holds at a branch, tag or commit."""
    commit = look_up(session, repository_id, revision)
    stored = session.connection().scalar(_STORED, {"repository": repository_id})
    return Contents(
        commit=commit,
        files=all_files(session, repository_id, commit.tree_oid),
        used_storage=int(stored or 0),
    )


def find_repository(session: Session, wanted: RepositoryName) -> Repository | None:
    """Return a repository, whoever may read it."""
    return _find(session, wanted)


def require_repository(session: Session, wanted: RepositoryName) -> Repository:
    """Return a repository, whoever may read it; raises RepositoryNotFoundError."""
    found = _find(session, wanted)
    if found is None:
        raise RepositoryNotFoundError(f"There is no {wanted.kind} repository {wanted}.")
    return found


def _find(session: Session, wanted: RepositoryName) -> Repository | None:
    return session.scalar(
        select(Repository)
        .join(Repository.namespace)
        .where(
            Repository.kind == wanted.kind,
            Namespace.name_key == wanted.namespace.lower(),
            Repository.name_key == wanted.name.lower(),
        )
    )
