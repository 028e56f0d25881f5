"""Users and organizations as others see them: those whom one meets on this hub anyway, no more.

Somebody is met who shares an organization with the caller, or who shows a repository to everyone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, find_namespace, namespaces_of, role_in
from fin_qlora_hub.access.visibility import Kind
from fin_qlora_hub.errors import NotAuthenticatedError, NotFoundError
from fin_qlora_hub.metadata.tables import Discussion, Membership, Namespace, Repository


@dataclass(frozen=True)
class Overview:
    """A user or an organization, with what of theirs the caller may see."""

    name: str
    full_name: str
    models: int
    datasets: int
    discussions: int
    organizations: Sequence[Namespace]
    members: int | None


def user_overview(session: Session, name: str, caller: Caller | None) -> Overview:
    """Return what a caller may know of a user; raises NotFoundError."""
    found = find_namespace(session, name)
    mine = namespaces_of(session, caller)
    theirs: list[Namespace] = []
    if found is not None and found.kind == "user":
        theirs = list(
            session.scalars(
                select(Namespace)
                .join(Membership, Membership.organization_id == Namespace.id)
                .where(Membership.user_id == found.id, Namespace.id.in_(mine))
                .order_by(Namespace.name_key)
            )
        )
        if found.id in mine or theirs or _shows(session, found):
            return _overview(session, found, mine, organizations=theirs)
    raise _nobody("user", caller)


def organization_overview(session: Session, name: str, caller: Caller | None) -> Overview:
    """Return what a caller may know of an organization; raises NotFoundError."""
    found = find_namespace(session, name)
    mine = namespaces_of(session, caller)
    if found is not None and found.kind == "org" and (found.id in mine or _shows(session, found)):
        members = None
        if found.id in mine:
            query = select(func.count()).select_from(Membership)
            members = session.scalar(query.filter_by(organization_id=found.id))
        return _overview(session, found, mine, members=members)
    raise _nobody("organization", caller)


def list_members(
    session: Session, name: str, caller: Caller | None, *, after: int, limit: int
) -> Sequence[Namespace]:
    """Return the members of an organization, for members alone: those after a number, by number."""
    found = find_namespace(session, name)
    if (
        found is None
        or found.kind != "org"
        or caller is None
        or role_in(session, caller, found) is None
    ):
        raise _nobody("organization", caller)
    query = (
        select(Namespace)
        .join(Membership, Membership.user_id == Namespace.id)
        .where(Membership.organization_id == found.id, Namespace.id > after)
        .order_by(Namespace.id)
        .limit(limit)
    )
    return session.scalars(query).all()


def _overview(
    session: Session,
    found: Namespace,
    mine: set[int],
    *,
    organizations: Sequence[Namespace] = (),
    members: int | None = None,
) -> Overview:
    seen = or_(Repository.private.is_(False), Repository.namespace_id.in_(mine))
    rows = session.execute(
        select(Repository.kind, func.count())
        .where(Repository.namespace_id == found.id, seen)
        .group_by(Repository.kind)
    )
    held = {kind: int(count) for kind, count in rows}
    opened = session.scalar(
        select(func.count())
        .select_from(Discussion)
        .join(Repository, Repository.id == Discussion.repository_id)
        .where(Discussion.author == found.name, seen)
    )
    return Overview(
        name=found.name,
        full_name=found.full_name,
        models=held.get(Kind.MODEL, 0),
        datasets=held.get(Kind.DATASET, 0),
        discussions=int(opened or 0),
        organizations=organizations,
        members=members,
    )


def _shows(session: Session, namespace: Namespace) -> bool:
    query = select(Repository.id).filter_by(namespace_id=namespace.id, private=False).limit(1)
    return session.scalar(query) is not None


def _nobody(what: str, caller: Caller | None) -> Exception:
    if caller is None:
        return NotAuthenticatedError("Invalid username or password.")
    return NotFoundError(f"There is no such {what}, or you may not know of it.")
