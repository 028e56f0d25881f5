"""Branches and tags that stay as they are."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from fin_qlora_hub.access.protection import is_held, list_protected, protect
from fin_qlora_hub.repositories.repository import open_administered, open_readable
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    Segment,
    Target,
    writing,
)
from fin_qlora_hub.routes.payloads import moment

router = APIRouter()

_ALL = "/api/{kinds}/{namespace}/{name}/protected"


@router.get(_ALL)
def show_protected(target: Target, hub: CurrentHub, caller: CurrentCaller) -> JSONResponse:
    """List the branches and tags that nobody can move, and say whether the repository is held."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        held = is_held(session, repository)
        shown = [
            {"ref": one.name, "protectedBy": one.protected_by, "since": moment(one.created_at)}
            for one in list_protected(session, repository)
        ]
    return JSONResponse({"references": shown, "held": held})


@router.post(_ALL + "/{reference}")
@writing
def protect_reference(
    target: Target, reference: Segment, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Let nobody move or remove a branch or tag; only the hub's command line takes that back."""
    with hub.database.writing() as session:
        repository = open_administered(session, target, caller)
        assert caller is not None
        name = protect(session, repository, reference, by=caller.name)
    return JSONResponse({"ref": name})
