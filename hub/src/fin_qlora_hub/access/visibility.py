"""Which repositories a caller sees: the one rule, for a single one and for lists.

What the most frequent requests ask is read column by column, through statements that are built
once: a row costs a tenth of an object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import MIRROR, Caller
from fin_qlora_hub.errors import (
    NotAuthenticatedError,
    RepositoryMovedError,
    RepositoryNotFoundError,
    UnhostedRepositoryError,
)
from fin_qlora_hub.metadata.tables import FormerName, Membership, Namespace, Repository

_MISSING = "Repository not found"
_UNKNOWN_CALLER = "Invalid username or password."
_NOBODY = -1


class Kind(StrEnum):
    """What a repository holds."""

    MODEL = "model"
    DATASET = "dataset"


@dataclass(frozen=True)
class RepositoryName:
    """The full name of a repository as a client writes it."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Seen:
    """A repository that a caller may see, as it stood when they asked.

    `name` is its full name; `card` is what lists show.
    """

    id: int
    kind: str
    name: str
    private: bool
    gated: str | None
    created_at: datetime
    updated_at: datetime
    downloads: int
    card: Mapping[str, Any]


_repositories = Repository.__table__.c
_namespaces = Namespace.__table__.c
_memberships = Membership.__table__.c
SEEN_COLUMNS = (
    *(_repositories.id, _repositories.kind, _namespaces.name, _repositories.name),
    *(_repositories.private, _repositories.gated, _repositories.created_at),
    *(_repositories.updated_at, _repositories.downloads, _repositories.card),
)
_BY_NAME = (
    select(*SEEN_COLUMNS, _repositories.namespace_id, _memberships.role)
    .select_from(
        Repository.__table__.join(
            Namespace.__table__, _namespaces.id == _repositories.namespace_id
        ).outerjoin(
            Membership.__table__,
            and_(
                _memberships.organization_id == _namespaces.id,
                _memberships.user_id == bindparam("user"),
            ),
        )
    )
    .where(
        _repositories.kind == bindparam("kind"),
        _namespaces.name_key == bindparam("namespace"),
        _repositories.name_key == bindparam("name"),
    )
)
_former = FormerName.__table__.c
_Owner, _There = Namespace.__table__.alias(), Membership.__table__.alias()
# A namespace, the caller's role in it, and where a repository went that had the name before.
_FORMER = (
    select(
        *(_namespaces.id, _namespaces.kind, _memberships.role, _Owner.c.name, _repositories.name),
        *(_repositories.private, _Owner.c.id, _There.c.role),
    )
    .select_from(
        Namespace.__table__.outerjoin(
            Membership.__table__,
            and_(
                _memberships.organization_id == _namespaces.id,
                _memberships.user_id == bindparam("user"),
            ),
        )
        .outerjoin(
            FormerName.__table__,
            and_(
                _former.namespace_id == _namespaces.id,
                _former.kind == bindparam("kind"),
                _former.name_key == bindparam("name"),
            ),
        )
        .outerjoin(Repository.__table__, _repositories.id == _former.repository_id)
        .outerjoin(_Owner, _Owner.c.id == _repositories.namespace_id)
        .outerjoin(
            _There,
            and_(_There.c.organization_id == _Owner.c.id, _There.c.user_id == bindparam("user")),
        )
    )
    .where(_namespaces.name_key == bindparam("namespace"))
)


def see(session: Session, wanted: RepositoryName, caller: Caller | None) -> Seen:
    """Return a repository that the caller may read, or behave as if there were none.

    A stranger sees what is public; whether they are let in at all is for the routes to say.
    """
    user = _NOBODY if caller is None else caller.user_id
    row = (
        session.connection()
        .execute(
            _BY_NAME,
            {
                "kind": wanted.kind,
                "namespace": wanted.namespace.lower(),
                "name": wanted.name.lower(),
                "user": user,
            },
        )
        .first()
    )
    if row is not None:
        *columns, namespace_id, role = row
        seen = as_seen(columns)
        theirs = namespace_id == user or role is not None
        if not seen.private or (theirs and _reaches(caller, wanted)):
            return seen
    raise _absent(session, wanted, caller, user=user)


def _reaches(caller: Caller | None, wanted: RepositoryName) -> bool:
    return (
        caller is None
        or caller.reach is None
        or caller.reach.holds(wanted.namespace, of=(wanted.kind, wanted.name))
    )


def as_seen(columns: Any) -> Seen:
    """Make a repository of the values of SEEN_COLUMNS."""
    number, kind, namespace, name, *rest = columns
    return Seen(number, kind, f"{namespace}/{name}", *rest)


def open_readable(session: Session, wanted: RepositoryName, caller: Caller | None) -> Repository:
    """Return a repository that the caller may read, as an object that can be changed."""
    return session.get_one(Repository, see(session, wanted, caller).id)


def _absent(
    session: Session, wanted: RepositoryName, caller: Caller | None, *, user: int
) -> Exception:
    """Return the refusal; what is private costs the same one statement as what is not there."""
    values = {
        "namespace": wanted.namespace.lower(),
        "kind": wanted.kind,
        "name": wanted.name.lower(),
        "user": user,
    }
    row = session.connection().execute(_FORMER, values).first()
    if row is None:
        return _hidden(caller)
    namespace_id, namespace_kind, role, moved_to, name, private, owner_id, role_there = row
    if moved_to is not None:
        theirs = owner_id == user or role_there is not None
        there = RepositoryName(wanted.kind, moved_to, name)
        if not private or (theirs and _reaches(caller, there)):
            return RepositoryMovedError(f"{moved_to}/{name}")
    theirs = (namespace_id == user or role is not None) and _reaches(caller, wanted)
    if namespace_kind == MIRROR or not theirs:
        return _hidden(caller)
    return RepositoryNotFoundError(_MISSING)


def _hidden(caller: Caller | None) -> Exception:
    """One answer for what is not there and what is not theirs."""
    if caller is None:
        return NotAuthenticatedError(_UNKNOWN_CALLER)
    return UnhostedRepositoryError(_MISSING)


def signed_in(caller: Caller | None) -> Caller:
    """Return a caller who is no stranger."""
    if caller is None:
        raise NotAuthenticatedError(_UNKNOWN_CALLER)
    return caller
