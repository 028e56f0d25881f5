"""Branches and tags: names that point at commits."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.names import check_reference_name, collision_key
from fin_qlora_hub.access.protection import is_protected, require_loose, require_movable, twin_of
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import (
    AlreadyExistsError,
    BadRequestError,
    ForbiddenError,
    RevisionNotFoundError,
)
from fin_qlora_hub.metadata.tables import Commit, Reference, Repository
from fin_qlora_hub.text import quoted, shortened

DEFAULT_BRANCH = "main"
BRANCHES = "refs/heads/"
TAGS = "refs/tags/"
PULL_REQUESTS = "refs/pr/"
_SHORTEST_SHA = 7
_SHA = 40
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class References:
    """All names of a repository, oldest first."""

    branches: tuple[Reference, ...]
    tags: tuple[Reference, ...]
    pull_requests: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """What those who only read need of a commit."""

    oid: str
    tree_oid: str
    created_at: datetime


_refs, _commits = Reference.__table__.c, Commit.__table__.c
_COLUMNS = (_commits.oid, _commits.tree_oid, _commits.created_at)
_NAMED = (
    select(_refs.name, *_COLUMNS)
    .join_from(
        Reference.__table__,
        Commit.__table__,
        and_(_commits.repository_id == _refs.repository_id, _commits.oid == _refs.commit_oid),
    )
    .where(
        _refs.repository_id == bindparam("repository"),
        _refs.name.in_([bindparam("branch"), bindparam("tag"), bindparam("full")]),
    )
)
_HASHED = (
    select(*_COLUMNS)
    .where(
        _commits.repository_id == bindparam("repository"),
        _commits.oid >= bindparam("first"),
        _commits.oid < bindparam("end"),
    )
    .limit(2)
)


def look_up(session: Session, repository_id: int, revision: str) -> Revision:
    """Return what a branch, a tag, a full reference or a (shortened) hash names, to be read."""
    connection = session.connection()
    names = (BRANCHES + revision, TAGS + revision, revision)
    values = dict(zip(("branch", "tag", "full"), names, strict=True))
    found = {
        name: columns
        for name, *columns in connection.execute(_NAMED, {"repository": repository_id, **values})
    }
    for name in names:
        if name in found:
            return Revision(*found[name])
    if _SHORTEST_SHA <= len(revision) <= _SHA and _HEX.issuperset(revision):
        hashed = {"repository": repository_id, "first": revision, "end": revision + "g"}
        matches = connection.execute(_HASHED, hashed).all()
        if len(matches) == 1:
            return Revision(*matches[0])
    raise RevisionNotFoundError(f"Invalid rev id: {shortened(revision)}")


def resolve(session: Session, repository: Repository, revision: str) -> Commit:
    """Return the commit that a branch, a tag, a full reference or a (shortened) hash names."""
    session.flush()
    return commit_of(session, repository, look_up(session, repository.id, revision).oid)


def commit_of(session: Session, repository: Repository, oid: str) -> Commit:
    """Return a commit that is known to be there."""
    return session.get_one(Commit, (repository.id, oid))


def find_branch(session: Session, repository: Repository, revision: str) -> Reference:
    """Return the branch that a commit may be made on; a tag or a hash is not one."""
    full = revision.startswith((BRANCHES, PULL_REQUESTS))
    name = revision if full else BRANCHES + revision
    reference = session.get(Reference, (repository.id, name))
    if reference is None:
        raise RevisionNotFoundError(f"Invalid rev id: {shortened(revision)}")
    return reference


def list_references(session: Session, repository: Repository) -> References:
    """Return every branch and tag."""
    found = session.scalars(
        select(Reference)
        .filter_by(repository_id=repository.id)
        .order_by(Reference.created_at, Reference.name)
    ).all()
    return References(
        branches=tuple(r for r in found if r.name.startswith(BRANCHES)),
        tags=tuple(r for r in found if r.name.startswith(TAGS)),
        pull_requests=tuple(r for r in found if r.name.startswith(PULL_REQUESTS)),
    )


def create_branch(
    session: Session, repository: Repository, name: str, *, starting_point: str | None = None
) -> None:
    """Make a branch at a revision, `main` unless told otherwise."""
    start = resolve(session, repository, starting_point or DEFAULT_BRANCH)
    check_reference_name(name, what="Branch")
    _create(session, repository, BRANCHES + name, commit=start)


def create_tag(
    session: Session, repository: Repository, name: str, *, revision: str, message: str | None
) -> None:
    """Name a revision; a tag never moves afterwards."""
    commit = resolve(session, repository, revision)
    check_reference_name(name, what="Tag")
    _create(session, repository, TAGS + name, commit=commit, message=message)


def delete_branch(session: Session, repository: Repository, name: str) -> None:
    """Remove a branch other than `main`; its commits stay readable by their hashes."""
    if name == DEFAULT_BRANCH:
        raise ForbiddenError(f"Cannot delete {BRANCHES}{name}: it is the default branch.")
    _delete(session, repository, BRANCHES + name, revision=name)


def delete_tag(session: Session, repository: Repository, name: str) -> None:
    """Remove a tag; its commit stays readable by its hash."""
    _delete(session, repository, TAGS + name, revision=name)


def _create(
    session: Session,
    repository: Repository,
    name: str,
    *,
    commit: Commit,
    message: str | None = None,
) -> None:
    if session.get(Reference, (repository.id, name)) is not None:
        raise AlreadyExistsError(f"Reference {name} already exists")
    require_no_twin(session, repository, name)
    alike = _look_alike(session, repository, name)
    if alike is not None:
        raise BadRequestError(
            f"Reference {quoted(name)} cannot stand beside {quoted(alike)}: they differ only in "
            "case or Unicode form. Choose another name."
        )
    other = _in_the_way(session, repository, name)
    if other is not None:
        raise BadRequestError(
            f"Reference {name} cannot stand beside {other}: git keeps one as a file where the "
            "other needs a folder. Choose another name."
        )
    session.add(
        Reference(
            repository_id=repository.id,
            name=name,
            commit_oid=commit.oid,
            message=message,
            created_at=datetime.now(UTC),
        )
    )
    act = Act.TAG_CREATED if name.startswith(TAGS) else Act.BRANCH_CREATED
    record(session, act, repository, ref=name, commit=commit.oid)


def require_no_twin(session: Session, repository: Repository, name: str) -> None:
    """Raise ForbiddenError where a new branch has the name of a protected tag, or a tag a branch's.

    Clients that ask for that name would get the one for the other.
    """
    twin = twin_of(name)
    if is_protected(session, repository, twin):
        raise ForbiddenError(
            f"{name} cannot stand beside {twin}, which is protected: clients would get the one for "
            "the other. Choose another name."
        )


def _look_alike(session: Session, repository: Repository, name: str) -> str | None:
    """Return what a disk that takes no heed of case would keep as the same file."""
    key, prefix = collision_key(name), name[: name.index("/", len("refs/")) + 1]
    of_kind = Reference.name >= prefix, Reference.name < prefix[:-1] + "0"
    query = select(Reference.name).where(Reference.repository_id == repository.id, *of_kind)
    return next((one for one in session.scalars(query) if collision_key(one) == key), None)


def _in_the_way(session: Session, repository: Repository, name: str) -> str | None:
    parts = name.split("/")
    above = ["/".join(parts[:end]) for end in range(3, len(parts))]
    return session.scalar(
        select(Reference.name)
        .where(
            Reference.repository_id == repository.id,
            or_(
                Reference.name.in_(above),
                and_(Reference.name >= name + "/", Reference.name < name + "0"),
            ),
        )
        .limit(1)
    )


def _delete(session: Session, repository: Repository, name: str, *, revision: str) -> None:
    require_loose(session, repository)
    require_movable(session, repository, [name])
    reference = session.get(Reference, (repository.id, name))
    if reference is None:
        raise RevisionNotFoundError(f"Invalid rev id: {shortened(revision)}")
    session.delete(reference)
    act = Act.TAG_DELETED if name.startswith(TAGS) else Act.BRANCH_DELETED
    record(session, act, repository, ref=name, former=reference.commit_oid)
