"""What is mirrored and what of it moves, as an administrator is told."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.metadata.tables import (
    Mirror,
    MirrorContent,
    MirrorRevision,
    Namespace,
    Repository,
)


@dataclass(frozen=True)
class Followed:
    """A mirrored revision; of its repository `size` bytes are here and `missing` are to come.

    One whose first revision is still being fetched has no `revision` and no `commit`.
    """

    name: RepositoryName
    revision: str
    commit: str
    whole: bool
    size: int
    missing: int
    checked_at: datetime
    problem: str | None


def followed_references(session: Session) -> list[tuple[RepositoryName, str]]:
    """Return the branches and tags that are mirrored, by their full names."""
    query = (
        select(Mirror.kind, Namespace.name, Repository.name, MirrorRevision.revision)
        .join(MirrorRevision, MirrorRevision.mirror_id == Mirror.id)
        .join(Repository, Repository.id == Mirror.repository_id)
        .join(Namespace, Namespace.id == Mirror.namespace_id)
        .where(MirrorRevision.revision.startswith("refs/"))
        .order_by(Mirror.id, MirrorRevision.revision)
    )
    return [
        (RepositoryName(Kind(kind), namespace, name), revision)
        for kind, namespace, name, revision in session.execute(query)
    ]


def list_followed(session: Session) -> list[Followed]:
    """Return what is mirrored, by name and revision, then what is not here yet."""
    return [*_here(session), *_begun(session)]


def _here(session: Session) -> Iterator[Followed]:
    missing = (
        select(func.coalesce(func.sum(MirrorContent.size), 0))
        .where(MirrorContent.mirror_id == Mirror.id, MirrorContent.fetched_at.is_(None))
        .correlate(Mirror)
        .scalar_subquery()
    )
    query = (
        select(Mirror, MirrorRevision, Repository, missing)
        .join(MirrorRevision, MirrorRevision.mirror_id == Mirror.id)
        .join(Repository, Repository.id == Mirror.repository_id)
        .order_by(Mirror.kind, Mirror.namespace_id, Mirror.name_key, MirrorRevision.revision)
    )
    for mirror, revision, repository, absent in session.execute(query):
        yield Followed(
            name=RepositoryName(Kind(mirror.kind), repository.namespace.name, repository.name),
            revision=revision.revision.removeprefix("refs/heads/").removeprefix("refs/tags/"),
            commit=revision.commit_oid,
            whole=mirror.whole,
            size=repository.stored_bytes,
            missing=int(absent),
            checked_at=revision.checked_at,
            problem=revision.problem,
        )


def _begun(session: Session) -> Iterator[Followed]:
    fetched = (
        select(func.coalesce(func.sum(MirrorContent.size), 0))
        .where(MirrorContent.mirror_id == Mirror.id)
        .correlate(Mirror)
        .scalar_subquery()
    )
    query = (
        select(Mirror, Namespace.name, fetched)
        .join(Namespace, Namespace.id == Mirror.namespace_id)
        .where(Mirror.repository_id.is_(None))
        .order_by(Mirror.id)
    )
    for mirror, namespace, size in session.execute(query):
        yield Followed(
            name=RepositoryName(Kind(mirror.kind), namespace, mirror.name_key),
            revision="",
            commit="",
            whole=mirror.whole,
            size=int(size),
            missing=0,
            checked_at=mirror.created_at,
            problem="It is not here yet: `fin-qlora-hub mirror add` goes on with it.",
        )
