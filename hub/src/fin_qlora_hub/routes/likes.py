"""Likes, of which this hub keeps none: clients that ask for them or take one back get answers."""

from fastapi import APIRouter
from starlette.responses import JSONResponse

from fin_qlora_hub.access.visibility import see, signed_in
from fin_qlora_hub.repositories.repository import RepositoryName
from fin_qlora_hub.routes.dependencies import (
    KINDS,
    CurrentCaller,
    CurrentHub,
    Plural,
    Segment,
    Target,
)

router = APIRouter()


@router.get("/api/users/{user}/likes")
async def list_liked(user: Segment, caller: CurrentCaller) -> JSONResponse:
    """List what somebody likes: nothing, whoever it is."""
    return JSONResponse([])


@router.get("/api/{kinds}/{namespace}/{name}/likers")
def list_likers(target: Target, hub: CurrentHub, caller: CurrentCaller) -> JSONResponse:
    """List who likes a repository: nobody."""
    with hub.database.reading() as session:
        see(session, target, caller)
    return JSONResponse([])


@router.delete("/api/{kinds}/{name}/like")
@router.delete("/api/{kinds}/{namespace}/{name}/like")
def unlike(
    kinds: Plural, name: Segment, hub: CurrentHub, caller: CurrentCaller, namespace: Segment = ""
) -> JSONResponse:
    """Take back a like, which is never there."""
    signed_in(caller)
    with hub.database.reading() as session:
        see(session, RepositoryName(KINDS[kinds], namespace, name), caller)
    return JSONResponse({})
