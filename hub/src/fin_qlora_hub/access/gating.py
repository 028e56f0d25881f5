"""Gated repositories: whoever has no role in the namespace must be let in before a download."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller, find_namespace, require_within, role_for
from fin_qlora_hub.access.protection import require_loose
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import (
    BadRequestError,
    ForbiddenError,
    GatedError,
    GatedForStrangersError,
    NotFoundError,
)
from fin_qlora_hub.metadata.tables import AccessRequest, Namespace, Repository
from fin_qlora_hub.text import shortened

MAX_REASON = 1000


class Gate(StrEnum):
    """How requests are answered: at once, or by somebody with the role to write."""

    AUTO = "auto"
    MANUAL = "manual"


class RequestStatus(StrEnum):
    """What became of a request."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


_DECISIONS = {
    RequestStatus.PENDING: Act.ACCESS_POSTPONED,
    RequestStatus.ACCEPTED: Act.ACCESS_GRANTED,
    RequestStatus.REJECTED: Act.ACCESS_REFUSED,
}


def set_gate(session: Session, repository: Repository, gate: str | None) -> None:
    """Let everybody who sees a repository have its files (None), or only those who are let in."""
    if repository.gated != gate:
        require_loose(session, repository)
        repository.gated = gate
        record(session, Act.GATE_CHANGED, repository, gate=gate)


def may_download(session: Session, repository: Repository, caller: Caller | None) -> bool:
    """Say whether a caller who may see a repository may have its files too."""
    if repository.gated is None:
        return True
    if caller is None:
        return False
    if role_for(session, caller, repository) is not None:
        return True
    if caller.reach is not None and not caller.reach.holds(caller.name):
        return False  # what was granted to the user is theirs, not their limited token's
    request = session.get(AccessRequest, (repository.id, caller.user_id))
    return request is not None and request.status == RequestStatus.ACCEPTED


def require_download(session: Session, repository: Repository, caller: Caller | None) -> None:
    """Raise GatedError for a caller who has not been let in."""
    if not may_download(session, repository, caller):
        name = f"{repository.namespace.name}/{repository.name}"
        if caller is None:
            raise GatedForStrangersError(
                f"Access to {repository.kind} {name} is restricted: send a token of yours."
            )
        raise GatedError(
            f"Access to {repository.kind} {name} is restricted and you are not in the authorized "
            "list. Ask for it with a POST to the repository's address and '/ask-access', or ask "
            f"a member of {repository.namespace.name}."
        )


def ask(session: Session, repository: Repository, caller: Caller) -> RequestStatus:
    """Ask to be let in; return what became of it at once."""
    if not caller.token_role.writes:
        raise ForbiddenError("Asking for access needs a token with the role 'write'.")
    require_within(caller, repository)
    if repository.gated is None:
        raise BadRequestError("The repository is not gated: no access needs to be asked for.")
    known = session.get(AccessRequest, (repository.id, caller.user_id))
    if known is not None:
        return RequestStatus(known.status)
    at_once = repository.gated == Gate.AUTO
    status = RequestStatus.ACCEPTED if at_once else RequestStatus.PENDING
    session.add(_request(repository, caller.user_id, status))
    record(session, Act.ACCESS_ASKED, repository, user=caller.name, status=status.value)
    return status


def list_requests(
    session: Session, repository: Repository, status: RequestStatus
) -> Sequence[tuple[AccessRequest, Namespace]]:
    """Return the requests of one status with who made them, oldest first."""
    query = (
        select(AccessRequest, Namespace)
        .join(Namespace, Namespace.id == AccessRequest.user_id)
        .where(AccessRequest.repository_id == repository.id, AccessRequest.status == status)
        .order_by(AccessRequest.created_at, AccessRequest.user_id)
    )
    return [(request, user) for request, user in session.execute(query)]


def request_id(request: AccessRequest) -> str:
    """Return by what clients name a request."""
    return f"{request.repository_id:012x}{request.user_id:012x}"


def find_request(session: Session, repository: Repository, name: str) -> AccessRequest:
    """Return the request of a repository that has this id."""
    found = None
    if re.fullmatch(r"[0-9a-f]{24}", name) and int(name[:12], 16) == repository.id:
        found = session.get(AccessRequest, (repository.id, int(name[12:], 16)))
    if found is None:
        raise NotFoundError("There is no such request for this repository.")
    return found


def request_of(session: Session, repository: Repository, user: str) -> AccessRequest:
    """Return the request that a user made."""
    found = session.get(AccessRequest, (repository.id, _find_user(session, user).id))
    if found is None:
        raise NotFoundError(f"{shortened(user)} has not asked for access.")
    return found


def handle(
    session: Session,
    repository: Repository,
    request: AccessRequest,
    status: RequestStatus,
    *,
    reason: str | None = None,
) -> None:
    """Accept or reject a request, or make it wait again."""
    if request.status == status:
        raise BadRequestError(f"The request is {status} already.")
    request.status = status
    request.rejection_reason = shortened(reason, limit=MAX_REASON) if reason else None
    user = session.get_one(Namespace, request.user_id).name
    record(session, _DECISIONS[status], repository, user=user, reason=request.rejection_reason)


def grant(session: Session, repository: Repository, user: str) -> None:
    """Let in somebody who has not asked."""
    if repository.gated is None:
        raise BadRequestError("The repository is not gated: everybody who sees it may have it.")
    found = _find_user(session, user)
    if session.get(AccessRequest, (repository.id, found.id)) is not None:
        raise BadRequestError(f"{shortened(user)} has asked already: handle the request instead.")
    session.add(_request(repository, found.id, RequestStatus.ACCEPTED))
    record(session, Act.ACCESS_GRANTED, repository, user=found.name)


def _request(repository: Repository, user_id: int, status: RequestStatus) -> AccessRequest:
    return AccessRequest(
        repository_id=repository.id,
        user_id=user_id,
        status=status,
        created_at=datetime.now(UTC),
    )


def _find_user(session: Session, name: str) -> Namespace:
    user = find_namespace(session, name)
    if user is None or user.kind != "user":
        raise NotFoundError(f"There is no user {shortened(name)}.")
    return user
