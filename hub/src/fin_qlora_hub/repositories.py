"""Repositories: making, finding, listing and removing them, and who may."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from fin_qlora_hub.blobs import BlobStore
from fin_qlora_hub.cards import Card
from fin_qlora_hub.commits import begin_history
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    NotAuthenticatedError,
    RepositoryNotFoundError,
    UnhostedRepositoryError,
)
from fin_qlora_hub.identity import Caller, Role, find_namespace, role_in
from fin_qlora_hub.names import check_name
from fin_qlora_hub.references import resolve
from fin_qlora_hub.tables import (
    Commit,
    Membership,
    Namespace,
    Repository,
    RepositoryTag,
    StoredFile,
)
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
    """Which repositories to list; every condition must hold."""

    kind: Kind
    author: str | None = None
    text: str | None = None
    tags: Sequence[str] = ()
    sort: SortKey = SortKey.UPDATED


@dataclass(frozen=True)
class Page:
    """Some repositories of a list, and where the next page begins."""

    repositories: Sequence[Repository]
    cursor: str | None


@dataclass(frozen=True)
class Contents:
    """One revision of a repository; `used_storage` is in bytes, over all revisions."""

    commit: Commit
    files: Mapping[str, FileEntry]
    used_storage: int


def full_name(repository: Repository) -> str:
    """Return the id of a repository in the case in which it was made."""
    return f"{repository.namespace.name}/{repository.name}"


def create(
    session: Session,
    blobs: BlobStore,
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
            f"{wanted.namespace!r}: it needs the role 'write' and a token with the role 'write'."
        )
    check_name(wanted.name, what="Repository")
    if _find(session, wanted) is not None:
        raise AlreadyExistsError(f"You already created this {wanted.kind} repo: {wanted}")
    now = datetime.now(UTC)
    repository = Repository(
        kind=wanted.kind,
        namespace=namespace,
        name=wanted.name,
        name_key=wanted.name.lower(),
        private=private,
        created_at=now,
        updated_at=now,
        card=Card().to_json(),
    )
    session.add(repository)
    session.flush()
    begin_history(session, blobs, repository, author=caller)
    return repository


def open_readable(session: Session, wanted: RepositoryName, caller: Caller | None) -> Repository:
    """Return a repository that the caller may read, or behave as if there were none."""
    if caller is None:
        raise NotAuthenticatedError("Invalid username or password.")
    repository = _find(session, wanted)
    if repository is not None and (
        not repository.private or role_in(session, caller, repository.namespace) is not None
    ):
        return repository
    if wanted.kind is Kind.MODEL and find_namespace(session, wanted.namespace) is None:
        raise UnhostedRepositoryError(f"Repository not found: {wanted} is not on this hub.")
    raise RepositoryNotFoundError("Repository not found")


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
) -> Page:
    """List the repositories that the caller may read and that match."""
    if caller is None:
        raise NotAuthenticatedError("Invalid username or password.")
    key = getattr(Repository, wanted.sort)
    query = (
        select(Repository)
        .join(Repository.namespace)
        .where(Repository.kind == wanted.kind, _readable(caller))
        .order_by(key.desc(), Repository.id.desc())
        .limit(limit + 1)
    )
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
    found = session.scalars(query).all()
    more = len(found) > limit
    page = found[:limit]
    return Page(page, _write_cursor(page[-1], wanted.sort) if more else None)


def set_visibility(repository: Repository, *, private: bool) -> None:
    """Show a repository to every user of the hub, or only to its namespace."""
    repository.private = private


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
        used_storage=session.scalar(stored) or 0,
    )


def count_download(session: Session, repository_id: int) -> None:
    """Add one to the downloads of a repository."""
    session.execute(
        update(Repository)
        .where(Repository.id == repository_id)
        .values(downloads=Repository.downloads + 1)
    )


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


def _write_cursor(last: Repository, sort: SortKey) -> str:
    value = getattr(last, sort)
    if isinstance(value, datetime):
        value = value.isoformat()
    return base64.urlsafe_b64encode(json.dumps([value, last.id]).encode()).decode()


def _read_cursor(cursor: str, sort: SortKey) -> tuple[Any, int]:
    try:
        value, last_id = json.loads(base64.urlsafe_b64decode(cursor))
        if sort is SortKey.DOWNLOADS:
            return int(value), int(last_id)
        return datetime.fromisoformat(value), int(last_id)
    except (TypeError, ValueError) as error:
        raise BadRequestError("The cursor is not one that this hub gave out.") from error
