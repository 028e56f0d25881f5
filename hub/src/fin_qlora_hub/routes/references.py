"""Branches, tags and history."""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from fin_qlora_hub.git.history import history
from fin_qlora_hub.git.references import (
    BRANCHES,
    PULL_REQUESTS,
    TAGS,
    create_branch,
    create_tag,
    delete_branch,
    delete_tag,
    list_references,
    resolve,
)
from fin_qlora_hub.repositories.repository import open_readable, open_writable
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
    writing,
)
from fin_qlora_hub.routes.mirrored import ARRIVES
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.text import Text

router = APIRouter()

MAX_COMMITS = 50


class NewBranch(BaseModel):
    """Where a branch begins."""

    starting_point: Text | None = Field(default=None, alias="startingPoint")


class NewTag(BaseModel):
    """The name of a tag and what it is for."""

    tag: Text
    message: Text | None = None


@router.get("/api/{kinds}/{namespace}/{name}/refs", dependencies=ARRIVES)
def show_references(
    target: Target, hub: CurrentHub, caller: CurrentCaller, include_prs: bool = False
) -> JSONResponse:
    """List branches and tags."""
    with hub.database.reading() as session:
        found = list_references(session, open_readable(session, target, caller))
        shown: dict[str, object] = {
            "branches": [payloads.reference(r, prefix=BRANCHES) for r in found.branches],
            "tags": [payloads.reference(r, prefix=TAGS) for r in found.tags],
            "converts": [],
        }
        requests = [payloads.reference(r, prefix=PULL_REQUESTS) for r in found.pull_requests]
    if include_prs:
        shown["pullRequests"] = requests
    return JSONResponse(shown)


@router.get("/api/{kinds}/{namespace}/{name}/commits/{revision}", dependencies=ARRIVES)
def list_commits(
    target: Target,
    revision: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    formatted: Annotated[list[str] | None, Query(alias="expand[]")] = None,
    cursor: str | None = None,
) -> Json:
    """List the commits of a revision, newest first."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        start = resolve(session, repository, revision)
        if cursor:
            start = resolve(session, repository, cursor)
        commits = list(islice(history(session, repository, start), MAX_COMMITS + 1))
        shown = [payloads.commit(commit) for commit in commits[:MAX_COMMITS]]
    if formatted and "formatted" in formatted:
        for item in shown:
            item["formatted"] = {"title": item["title"], "message": item["message"]}
    following = commits[MAX_COMMITS].oid if len(commits) > MAX_COMMITS else None
    return page(shown, request=request, public_url=public_url, cursor=following)


@router.post("/api/{kinds}/{namespace}/{name}/branch/{branch}")
@writing
def add_branch(
    target: Target,
    branch: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    body: Annotated[NewBranch | None, Body()] = None,
) -> JSONResponse:
    """Make a branch."""
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        start = body.starting_point if body else None
        create_branch(session, repository, branch, starting_point=start)
    return JSONResponse({})


@router.delete("/api/{kinds}/{namespace}/{name}/branch/{branch}")
@writing
def remove_branch(
    target: Target, branch: Segment, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Remove a branch."""
    with hub.database.writing() as session:
        delete_branch(session, open_writable(session, target, caller), branch)
    return JSONResponse({})


@router.post("/api/{kinds}/{namespace}/{name}/tag/{revision}")
@writing
def add_tag(
    target: Target, revision: Segment, body: NewTag, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Name a revision."""
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        create_tag(session, repository, body.tag, revision=revision, message=body.message)
    return JSONResponse({})


@router.delete("/api/{kinds}/{namespace}/{name}/tag/{tag}")
@writing
def remove_tag(
    target: Target, tag: Segment, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Remove a tag."""
    with hub.database.writing() as session:
        delete_tag(session, open_writable(session, target, caller), tag)
    return JSONResponse({})
