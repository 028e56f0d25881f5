"""Discussions and pull requests."""

from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import may_download
from fin_qlora_hub.access.visibility import signed_in
from fin_qlora_hub.errors import RevisionNotFoundError
from fin_qlora_hub.git.references import BRANCHES, DEFAULT_BRANCH
from fin_qlora_hub.metadata.tables import Discussion, DiscussionEvent, Repository
from fin_qlora_hub.repositories.discussions import (
    OPEN_STATUSES,
    PAGE,
    DiscussionSearch,
    Status,
    change_status,
    comment,
    edit_comment,
    events_of,
    find_discussion,
    hide_comment,
    list_discussions,
    open_discussion,
    open_pull_request,
    rename,
)
from fin_qlora_hub.repositories.merging import diff_text, difference, merge
from fin_qlora_hub.repositories.proposing import open_proposable
from fin_qlora_hub.repositories.repository import full_name, open_readable, open_writable
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.dependencies import COSTLY, CurrentCaller, CurrentHub, Target, writing
from fin_qlora_hub.text import Text

router = APIRouter()

_ALL = "/api/{kinds}/{namespace}/{name}/discussions"
_ONE = _ALL + "/{num}"


class NewDiscussion(BaseModel):
    """What a discussion or pull request begins with."""

    model_config = ConfigDict(extra="ignore")

    title: Text
    description: Text
    pull_request: bool = Field(default=False, alias="pullRequest")


class NewComment(BaseModel):
    """The words of a comment."""

    comment: Text


class NewTitle(BaseModel):
    """Another title."""

    title: Text


class NewStatus(BaseModel):
    """Another status, and why."""

    status: Literal["open", "closed"]
    comment: Text | None = None


class EditedComment(BaseModel):
    """Other words for a comment."""

    content: Text


class Merge(BaseModel):
    """What to say about a merge."""

    comment: Text | None = None


@router.get(_ALL)
def list_all(
    target: Target,
    hub: CurrentHub,
    caller: CurrentCaller,
    page: Annotated[int, Query(alias="p", ge=0, le=1_000_000)] = 0,
    kind: Annotated[Literal["all", "discussion", "pull_request"], Query(alias="type")] = "all",
    status: Literal["all", "open", "closed"] = "all",
    author: str | None = None,
) -> JSONResponse:
    """List the discussions of a repository, the newest first."""
    wanted = DiscussionSearch(
        pull_requests=None if kind == "all" else kind == "pull_request",
        open=None if status == "all" else status == "open",
        author=author,
    )
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        found, count = list_discussions(session, repository, wanted, page=page)
        shown = [_discussion(repository, one) for one in found]
    return JSONResponse({"discussions": shown, "count": count, "start": page * PAGE})


@router.post(_ALL)
@writing
def begin(
    target: Target, body: NewDiscussion, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Begin a discussion or a pull request."""
    with hub.database.writing() as session:
        if body.pull_request:
            repository = open_proposable(session, target, caller)
            caller = signed_in(caller)
            opened = open_pull_request(
                *(session, repository),
                title=body.title,
                description=body.description,
                author=caller,
                base=DEFAULT_BRANCH,
            )
        else:
            repository = open_readable(session, target, caller)
            caller = signed_in(caller)
            opened = open_discussion(
                *(session, repository),
                title=body.title,
                description=body.description,
                author=caller,
            )
        num = opened.num
    return JSONResponse({"num": num, "pullRequest": body.pull_request})


@router.get(_ONE)
def show(
    target: Target, num: int, hub: CurrentHub, caller: CurrentCaller, diff: bool = False
) -> JSONResponse:
    """Show a discussion with all that happened in it."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        found = find_discussion(session, repository, num)
        shown = _discussion(repository, found)
        shown["events"] = [_event(event) for event in events_of(session, found)]
        if found.is_pull_request:
            assert found.base is not None
            base = found.base if found.base.startswith(BRANCHES) else BRANCHES + found.base
            shown["changes"] = {"base": base}
            if found.merge_oid:
                shown["changes"]["mergeCommitId"] = found.merge_oid
            changes = None
            with suppress(RevisionNotFoundError):  # its target may have been removed
                changes = difference(session, repository, found)
            is_open = found.status in OPEN_STATUSES
            shown["filesWithConflicts"] = list(changes.conflicts) if changes and is_open else []
            if changes and diff and may_download(session, repository, caller):
                shown["diff"] = diff_text(session, hub.storage, repository, changes)
    return JSONResponse(shown)


@router.post(_ONE + "/comment")
@writing
def add_comment(
    target: Target, num: int, body: NewComment, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Add a comment."""
    with hub.database.writing() as session:
        found = find_discussion(session, open_readable(session, target, caller), num)
        caller = signed_in(caller)
        event = _event(comment(session, found, body.comment, author=caller))
    return JSONResponse({"newMessage": event})


@router.post(_ONE + "/title")
@writing
def give_title(
    target: Target, num: int, body: NewTitle, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Give a discussion another title."""
    with hub.database.writing() as session:
        repository = open_readable(session, target, caller)
        found = find_discussion(session, repository, num)
        caller = signed_in(caller)
        event = _event(rename(session, repository, found, body.title, author=caller))
    return JSONResponse({"newTitle": event})


@router.post(_ONE + "/status")
@writing
def give_status(
    target: Target, num: int, body: NewStatus, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Open or close a discussion."""
    with hub.database.writing() as session:
        repository = open_readable(session, target, caller)
        found = find_discussion(session, repository, num)
        caller = signed_in(caller)
        event = change_status(
            *(session, repository, found, Status(body.status)),
            author=caller,
            reason=body.comment or "",
        )
        shown = _event(event)
    return JSONResponse({"newStatus": shown})


@router.post(_ONE + "/merge", dependencies=COSTLY)
@writing
def merge_pull_request(
    target: Target,
    num: int,
    hub: CurrentHub,
    caller: CurrentCaller,
    body: Merge | None = None,
) -> JSONResponse:
    """Bring a pull request into its target."""
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        found = find_discussion(session, repository, num)
        caller = signed_in(caller)
        said = (body.comment if body else None) or ""
        oid = merge(session, hub.storage, repository, found, author=caller, message=said)
    return JSONResponse({"mergeCommitId": oid})


@router.post(_ONE + "/comment/{key}/edit")
@writing
def change_comment(
    target: Target,
    num: int,
    key: str,
    body: EditedComment,
    hub: CurrentHub,
    caller: CurrentCaller,
) -> JSONResponse:
    """Change the words of a comment."""
    with hub.database.writing() as session:
        found = find_discussion(session, open_readable(session, target, caller), num)
        caller = signed_in(caller)
        event = _event(edit_comment(session, found, key, body.content, author=caller))
    return JSONResponse({"updatedComment": event})


@router.post(_ONE + "/comment/{key}/hide")
@writing
def remove_comment(
    target: Target, num: int, key: str, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Take the words of a comment away."""
    with hub.database.writing() as session:
        repository = open_readable(session, target, caller)
        found = find_discussion(session, repository, num)
        caller = signed_in(caller)
        event = _event(hide_comment(session, repository, found, key, author=caller))
    return JSONResponse({"updatedComment": event})


def _discussion(repository: Repository, found: Discussion) -> dict[str, Any]:
    return {
        "title": found.title,
        "num": found.num,
        "author": {"name": found.author, "type": "user"},
        "createdAt": payloads.moment(found.created_at),
        "status": found.status,
        "isPullRequest": found.is_pull_request,
        "repo": {"name": full_name(repository), "type": repository.kind},
    }


def _event(event: DiscussionEvent) -> dict[str, Any]:
    return {
        "id": event.key,
        "type": event.kind,
        "createdAt": payloads.moment(event.created_at),
        "author": {"name": event.author, "type": "user"},
        "data": event.content,
    }
