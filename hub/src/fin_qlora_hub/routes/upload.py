"""Uploads: the question how to send each file, and the commit that brings them."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.names import check_path
from fin_qlora_hub.access.protection import require_movable
from fin_qlora_hub.access.visibility import signed_in
from fin_qlora_hub.contents.storage import Source
from fin_qlora_hub.errors import QuotaExceededError, TooLargeError
from fin_qlora_hub.git.attributes import ATTRIBUTES_FILE, Attributes
from fin_qlora_hub.git.changes import ChangeReader
from fin_qlora_hub.git.ignoring import MAX_BYTES, IgnoreRules
from fin_qlora_hub.git.references import BRANCHES, find_branch, resolve
from fin_qlora_hub.git.trees import FileEntry, find_entries
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.quotas import require_room
from fin_qlora_hub.repositories.committing import Committed, commit_as_pull_request, commit_change
from fin_qlora_hub.repositories.proposing import access_to_send, open_for, open_proposable
from fin_qlora_hub.repositories.repository import RepositoryName
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
    in_writer,
    upload_slots,
    web_path,
)
from fin_qlora_hub.routes.receiving import PIECE_BYTES, receive
from fin_qlora_hub.routes.sent import take_in_sent
from fin_qlora_hub.text import Text, shortened
from fin_qlora_hub.xet.access import Access

router = APIRouter()

MAX_FILES = 5000
IGNORE_FILE = ".gitignore"


class AnnouncedFile(BaseModel):
    """A file that the client would like to send."""

    path: Text
    size: Annotated[int, Field(ge=0)] = 0


class Announcement(BaseModel):
    """All files of a coming commit, and the ignore rules among them."""

    files: Annotated[list[AnnouncedFile], Field(max_length=MAX_FILES)]
    git_ignore: Text | None = Field(default=None, alias="gitIgnore")


@router.post("/api/{kinds}/{namespace}/{name}/preupload/{revision}")
def announce_upload(
    target: Target,
    revision: Segment,
    body: Announcement,
    hub: CurrentHub,
    caller: CurrentCaller,
    create_pr: bool = False,
) -> JSONResponse:
    """Say how to send each file, and refuse before bytes move what a commit would refuse."""
    with hub.database.reading() as session:
        repository = open_for(session, target, caller, branch=revision, create_pr=create_pr)
        commit = resolve(session, repository, revision)
        if not create_pr:
            require_movable(session, repository, [BRANCHES + revision, revision])
        for file in body.files:
            if file.size > hub.settings.max_file_bytes:
                raise TooLargeError(
                    f"{shortened(file.path)} has {file.size:,} bytes; this hub takes files of at "
                    f"most {hub.settings.max_file_bytes:,} bytes."
                )
        paths = [check_path(file.path) for file in body.files]
        hub.blobs.require_space(sum(file.size for file in body.files))
        wanted = [*paths, IGNORE_FILE, ATTRIBUTES_FILE]
        found = find_entries(session, commit.repository_id, commit.tree_oid, wanted)
        present = {path: entry for path, entry in found.items() if isinstance(entry, FileEntry)}
        rules = {
            path: hub.storage.source(
                session,
                commit.repository_id,
                present[path].content.sha256,
                size=present[path].content.size,
            )
            for path in (IGNORE_FILE, ATTRIBUTES_FILE)
            if path in present
        }
        changed = [
            f for f, path in zip(body.files, paths, strict=True) if _is_new(f, path, present)
        ]
        require_room(session, repository.namespace_id, sum(file.size for file in changed))
    sizes = [file.size for file in body.files]
    large = Attributes(_text(rules.get(ATTRIBUTES_FILE))).large(zip(paths, sizes, strict=True))
    ignore_text = _text(rules.get(IGNORE_FILE)) if body.git_ignore is None else body.git_ignore
    ignored = IgnoreRules(ignore_text).ignores(paths)
    return JSONResponse(
        {
            "files": [
                {
                    "path": file.path,
                    "uploadMode": "lfs" if file.size and pointer else "regular",
                    "shouldIgnore": ignore,
                    **_present_oid(present.get(path), pointer=pointer),
                }
                for file, path, pointer, ignore in zip(
                    body.files, paths, large, ignored, strict=True
                )
            ]
        }
    )


@router.post("/api/{kinds}/{namespace}/{name}/commit/{revision}")
async def commit(
    target: Target,
    revision: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    create_pr: bool = False,
) -> JSONResponse:
    """Take a commit; its files go to disk as they arrive."""
    announced = request.headers.get("content-length")
    length = int(announced) if announced and announced.isdecimal() else None
    caller = signed_in(caller)
    check = partial(_check_branch, hub, target, revision, caller, moved=not create_pr)
    room = await run_in_threadpool(check, length=length or 0)
    reader = ChangeReader(hub.blobs, hub.settings)
    # A short body is soon here or cut off for idling: it need not wait for those that are long.
    short = length is not None and length <= PIECE_BYTES
    try:
        async with nullcontext() if short else upload_slots(request).one(caller.user_id):
            await receive(request, _bounded(reader.feed, room), executor=hub.receivers)
        change = await run_in_threadpool(reader.finish)
        if hub.direct is not None and change.stored:
            access = await run_in_threadpool(_access, hub, target, caller)
            await take_in_sent(hub, access, change.stored)
        commit_it = (
            partial(commit_as_pull_request, base=revision)
            if create_pr
            else partial(commit_change, branch=revision)
        )
        work = partial(
            commit_it,
            *(hub.database, hub.storage, target),
            change=change,
            caller=caller,
        )
        made = await in_writer(hub, work)
    finally:
        await run_in_threadpool(reader.discard)
    page = f"{web_path(target.kind)}{made.repository}/commit/{made.oid}"
    return JSONResponse(
        {
            "success": True,
            "commitOid": made.oid,
            "commitUrl": f"{public_url}/{page}",
            "hookOutput": "",
            **_pull_request(made, f"{public_url}/{web_path(target.kind)}{made.repository}"),
        },
        headers=_warning(made, branch=revision),
    )


def _access(hub: Hub, target: RepositoryName, caller: Caller | None) -> Access:
    with hub.database.reading() as session:
        return access_to_send(session, open_proposable(session, target, caller), caller)


def _pull_request(made: Committed, url: str) -> dict[str, str]:
    if made.pull_request is None:
        return {}
    return {"pullRequestUrl": f"{url}/discussions/{made.pull_request}"}


def _warning(made: Committed, *, branch: str) -> dict[str, str]:
    """Tell whoever meant to commit the same once more; the client shows it."""
    if made.head is None:
        return {}
    return {
        "X-HF-Warning": f"repeated commit; This very commit was made before ({made.oid}), so "
        f"nothing was changed: {quote(branch, safe='/')} is at {made.head} by now. If you want "
        "it once more, give it another message."
    }


def _check_branch(
    hub: Hub,
    target: RepositoryName,
    revision: str,
    caller: Caller | None,
    *,
    moved: bool,
    length: int,
) -> int | None:
    """Refuse before any byte is read; return how many bytes of contents there is room for."""
    with hub.database.reading() as session:
        repository = open_for(session, target, caller, branch=revision, create_pr=not moved)
        branch = find_branch(session, repository, revision)
        if moved:
            require_movable(session, repository, [branch.name])
        room = require_room(session, repository.namespace_id, 0)
    hub.blobs.require_space(length)
    return room


def _bounded(feed: Callable[[bytes], None], room: int | None) -> Callable[[bytes], None]:
    """Stop reading a commit that is longer than anything for which there is room."""
    if room is None:
        return feed
    left = room * 3 // 2 + PIECE_BYTES  # base64 makes contents a third longer

    def bounded(data: bytes) -> None:
        nonlocal left
        left -= len(data)
        if left < 0:
            raise QuotaExceededError(
                f"The commit is larger than the {room:,} bytes that are left of the namespace's "
                "quota: remove what is not needed, or ask the administrator of the hub for more."
            )
        feed(data)

    return bounded


def _is_new(file: AnnouncedFile, path: str, present: dict[str, FileEntry]) -> bool:
    """Guess whether a file will take room; what is committed is counted exactly."""
    return path not in present or present[path].content.size != file.size


def _present_oid(found: FileEntry | None, *, pointer: bool) -> dict[str, str]:
    """Name what stands at the path, in the way in which the client names what it has."""
    if found is None:
        return {}
    oid = found.content.sha256 if pointer else found.content.git_sha1
    return {} if oid is None else {"oid": oid}


def _text(source: Source | None) -> str:
    """Read a short text; one byte more than it may have tells that it is too long."""
    if source is None:
        return ""
    length = min(source.size, MAX_BYTES + 1)
    return b"".join(source.read(length=length)).decode("utf-8", "replace")
