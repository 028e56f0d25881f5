"""Repositories: making, finding, listing and removing them, and who may."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session, undefer

from fin_qlora_hub.cards import Card
from fin_qlora_hub.commits import begin_history
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    NotAuthenticatedError,
    NotFoundError,
    RepositoryMovedError,
    RepositoryNotFoundError,
    UnhostedRepositoryError,
)
from fin_qlora_hub.identity import Caller, Role, find_namespace, role_in
from fin_qlora_hub.names import check_repository_name
from fin_qlora_hub.references import resolve
from fin_qlora_hub.storage import Storage
from fin_qlora_hub.tables import (
    Commit,
    FormerName,
    Membership,
    Namespace,
    Repository,
    RepositoryTag,
    StoredFile,
    XetChunk,
    XetFile,
)
from fin_qlora_hub.text import quoted
from fin_qlora_hub.trees import FileEntry, all_files


class Kind(StrEnum):
    """What a repository holds."""

    MODEL = "model"
    DATASET = "dataset"


class SortKey(StrEnum):
    """By which column a list is sorted, the highest first."""

    UPDATED = "updated_at"
    CREATED = "created_at"
    DOWNLOADS = "downloads"


@dataclass(frozen=True)
class RepositoryName:
    """The full name of a repository as a client writes it."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Search:
    """Which repositories to list; every condition must hold. `details` loads their whole cards."""

    kind: Kind
    author: str | None = None
    text: str | None = None
    tags: Sequence[str] = ()
    sort: SortKey = SortKey.UPDATED
    details: bool = False
    gated: bool | None = None


@dataclass(frozen=True)
class Contents:
    """One revision of a repository; `used_storage` is in bytes, over all revisions."""

    commit: Commit
    files: Mapping[str, FileEntry]
    used_storage: int


_MISSING = "Repository not found"
_ROWS_AT_ONCE = 50
_MAX_CURSOR_LENGTH = 200
_MAX_INTEGER = 2**63


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
    if caller is None:
        raise NotAuthenticatedError("Invalid username or password.")
    namespace = find_namespace(session, wanted.namespace)
    role = None if namespace is None else role_in(session, caller, namespace)
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
    repository = add_empty(session, wanted, namespace, private=private)
    begin_history(session, storage, repository, author=caller)
    return repository


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
    session.flush()
    return repository


def open_readable(session: Session, wanted: RepositoryName, caller: Caller | None) -> Repository:
    """Return a repository that the caller may read, or behave as if there were none."""
    if caller is None:
        raise NotAuthenticatedError("Invalid username or password.")
    repository = _find(session, wanted)
    if repository is not None and not repository.private:
        return repository
    if repository is None:
        _follow(session, wanted, caller)
    namespace = (
        find_namespace(session, wanted.namespace) if repository is None else repository.namespace
    )
    if namespace is None or role_in(session, caller, namespace) is None:
        raise UnhostedRepositoryError(_MISSING)
    if repository is None:
        raise RepositoryNotFoundError(_MISSING)
    return repository


def _follow(session: Session, wanted: RepositoryName, caller: Caller) -> None:
    """Say the new name of a repository that was moved, to whoever may read it there."""
    namespace = find_namespace(session, wanted.namespace)
    if namespace is None:
        return
    former = session.get(FormerName, (wanted.kind, namespace.id, wanted.name.lower()))
    if former is None:
        return
    moved = session.get_one(Repository, former.repository_id)
    if not moved.private or role_in(session, caller, moved.namespace) is not None:
        raise RepositoryMovedError(full_name(moved))


def open_writable(session: Session, wanted: RepositoryName, caller: Caller | None) -> Repository:
    """Return a repository that the caller may change."""
    repository = open_readable(session, wanted, caller)
    assert caller is not None
    role = role_in(session, caller, repository.namespace)
    if role is None or not role.writes:
        needed = (
            "a token with the role 'write'"
            if caller.token_role is Role.READ
            else f"the role 'write' in {repository.namespace.name!r}"
        )
        raise ForbiddenError(f"You may read {wanted} but not change it: that needs {needed}.")
    return repository


def search(
    session: Session, wanted: Search, *, caller: Caller | None, limit: int, cursor: str | None
) -> Iterator[Repository]:
    """Yield the repositories that the caller may read and that match, at most `limit`."""
    if caller is None:
        raise NotAuthenticatedError("Invalid username or password.")
    key = getattr(Repository, wanted.sort)
    query = (
        select(Repository)
        .join(Repository.namespace)
        .where(Repository.kind == wanted.kind, _readable(caller))
        .order_by(key.desc(), Repository.id.desc())
        .limit(limit)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    if wanted.details:
        query = query.options(undefer(Repository.card_details))
    if wanted.gated is not None:
        open_to_all = Repository.gated.is_(None)
        query = query.where(~open_to_all if wanted.gated else open_to_all)
    if wanted.author:
        query = query.where(Namespace.name_key == wanted.author.lower())
    if wanted.text:
        name = Namespace.name_key + "/" + Repository.name_key
        query = query.where(name.contains(wanted.text.lower(), autoescape=True))
    for tag in wanted.tags:
        query = query.where(
            exists().where(
                RepositoryTag.repository_id == Repository.id,
                RepositoryTag.tag == tag,
            )
        )
    if cursor:
        value, last_id = _read_cursor(cursor, wanted.sort)
        query = query.where(tuple_(key, Repository.id) < (value, last_id))
    with session.scalars(query) as found:
        yield from found


def list_owned(
    session: Session, namespace: str | None, *, caller: Caller | None, after: int, limit: int
) -> Sequence[tuple[Repository, int]]:
    """Return the repositories of a namespace (the caller's own by default) with their bytes.

    Those after a number, by their numbers, at most `limit`; only for those with a role there.
    """
    if caller is None:
        raise NotAuthenticatedError("Invalid username or password.")
    owner = find_namespace(session, namespace or caller.name)
    if owner is None or role_in(session, caller, owner) is None:
        raise NotFoundError("There is no such organization.")
    stored = (
        select(func.coalesce(func.sum(StoredFile.size), 0))
        .where(StoredFile.repository_id == Repository.id)
        .correlate(Repository)
        .scalar_subquery()
    )
    query = (
        select(Repository, stored)
        .where(Repository.namespace_id == owner.id, Repository.id > after)
        .order_by(Repository.id)
        .limit(limit)
    )
    return [(repository, int(size)) for repository, size in session.execute(query)]


def set_visibility(repository: Repository, *, private: bool) -> None:
    """Show a repository to every user of the hub, or only to its namespace."""
    repository.private = private


def move(
    session: Session, source: RepositoryName, target: RepositoryName, *, caller: Caller | None
) -> None:
    """Give a repository another name; the old one leads to it until somebody takes it."""
    repository = open_writable(session, source, caller)
    assert caller is not None
    namespace = find_namespace(session, target.namespace)
    role = None if namespace is None else role_in(session, caller, namespace)
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
    _forget_former(session, target, namespace)
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
    if old_namespace != namespace.id:
        # Another namespace's clients must not be told of chunks that it has not sent.
        files = select(XetFile.id).filter_by(repository_id=repository.id)
        session.execute(delete(XetChunk).where(XetChunk.file_id.in_(files)))


def _forget_former(session: Session, name: RepositoryName, namespace: Namespace) -> None:
    former = session.get(FormerName, (name.kind, namespace.id, name.name.lower()))
    if former is not None:
        session.delete(former)


def remove(session: Session, repository: Repository) -> None:
    """Remove a repository with its history; contents that no one else uses become garbage."""
    session.delete(repository)


def contents(session: Session, repository: Repository, revision: str) -> Contents:
    """Return what a repository holds at a branch, tag or commit."""
    commit = resolve(session, repository, revision)
    stored = select(func.sum(StoredFile.size)).filter_by(repository_id=repository.id)
    return Contents(
        commit=commit,
        files=all_files(session, repository.id, commit.tree_oid),
        used_storage=int(session.scalar(stored) or 0),
    )


def find_repository(session: Session, wanted: RepositoryName) -> Repository | None:
    """Return a repository, whoever may read it."""
    return _find(session, wanted)


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


def _readable(caller: Caller) -> ColumnElement[bool]:
    organizations = select(Membership.organization_id).filter_by(user_id=caller.user_id)
    return or_(
        Repository.private.is_(False),
        Repository.namespace_id == caller.user_id,
        Repository.namespace_id.in_(organizations),
    )


def cursor_after(last: Repository, sort: SortKey) -> str:
    """Return where a list goes on after a repository."""
    value = getattr(last, sort)
    if isinstance(value, datetime):
        value = value.isoformat()
    return base64.urlsafe_b64encode(json.dumps([value, last.id]).encode()).decode()


def _read_cursor(cursor: str, sort: SortKey) -> tuple[datetime | int, int]:
    try:
        if len(cursor) > _MAX_CURSOR_LENGTH:
            raise ValueError("too long")
        value, last_id = json.loads(base64.urlsafe_b64decode(cursor))
        number = int(last_id)
        start = int(value) if sort is SortKey.DOWNLOADS else datetime.fromisoformat(value)
        if isinstance(start, datetime):
            start = start.astimezone(UTC)
        for integer in (number, start if isinstance(start, int) else 0):
            if abs(integer) >= _MAX_INTEGER:
                raise ValueError("too large")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadRequestError("The cursor is not one that this hub gave out.") from error
    return start, number
