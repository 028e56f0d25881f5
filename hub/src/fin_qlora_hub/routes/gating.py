"""Asking to be let in, and letting in."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import (
    RequestStatus,
    ask,
    find_request,
    grant,
    handle,
    list_requests,
    request_id,
    request_of,
)
from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.visibility import signed_in
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.tables import AccessRequest, Namespace
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, open_readable, open_writable
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    Segment,
    Target,
    writing,
)
from fin_qlora_hub.text import Text

router = APIRouter()

_REQUESTS = "/api/{kinds}/{namespace}/{name}/user-access-request"


class Decision(BaseModel):
    """What to do with whose request."""

    model_config = ConfigDict(extra="ignore")

    user: Text | None = None
    request_id: Text | None = Field(default=None, alias="requestId")
    status: RequestStatus
    rejection_reason: Text | None = Field(default=None, alias="rejectionReason")


class Guest(BaseModel):
    """Whom to let in."""

    model_config = ConfigDict(extra="ignore")

    user: Text


@router.post("/datasets/{namespace}/{name}/ask-access")
@writing
def ask_for_dataset(
    namespace: Segment, name: Segment, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Ask for a gated data set."""
    return _ask(RepositoryName(Kind.DATASET, namespace, name), hub=hub, caller=caller)


@router.post("/{namespace}/{name}/ask-access")
@writing
def ask_for_model(
    namespace: Segment, name: Segment, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Ask for a gated model."""
    return _ask(RepositoryName(Kind.MODEL, namespace, name), hub=hub, caller=caller)


def _ask(target: RepositoryName, *, hub: Hub, caller: Caller | None) -> JSONResponse:
    with hub.database.writing() as session:
        repository = open_readable(session, target, caller)
        caller = signed_in(caller)
        status = ask(session, repository, caller)
    return JSONResponse({"status": status})


@router.get(_REQUESTS + "/{status}")
def show_requests(
    target: Target, status: RequestStatus, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """List the requests of one status."""
    with hub.database.reading() as session:
        repository = open_writable(session, target, caller)
        shown = [_shown(*pair) for pair in list_requests(session, repository, status)]
    return JSONResponse(shown)


@router.post(_REQUESTS + "/handle")
@writing
def handle_request(
    target: Target, body: Decision, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Decide on a request."""
    if (body.user is None) == (body.request_id is None):
        raise BadRequestError("Say by either 'user' or 'requestId' which request is meant.")
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        asked = (
            request_of(session, repository, body.user)
            if body.user is not None
            else find_request(session, repository, body.request_id or "")
        )
        handle(session, repository, asked, body.status, reason=body.rejection_reason)
    return JSONResponse({})


@router.post(_REQUESTS + "/grant")
@writing
def grant_access(
    target: Target, body: Guest, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Let somebody in who has not asked."""
    with hub.database.writing() as session:
        grant(session, open_writable(session, target, caller), body.user)
    return JSONResponse({})


def _shown(request: AccessRequest, user: Namespace) -> dict[str, Any]:
    return {
        "requestId": request_id(request),
        "user": {"user": user.name, "fullname": user.full_name, "email": user.email},
        "status": request.status,
        "timestamp": payloads.moment(request.created_at),
        "rejectionReason": request.rejection_reason,
    }
