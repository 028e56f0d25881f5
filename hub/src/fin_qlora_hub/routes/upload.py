"""Uploads: the question how to send each file, and the commit that brings them."""

from typing import Annotated

import pathspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from fin_qlora_hub.changes import ChangeReader
from fin_qlora_hub.commits import Change, create
from fin_qlora_hub.errors import BadRequestError, HubError, TooLargeError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.identity import Caller
from fin_qlora_hub.names import check_path
from fin_qlora_hub.references import find_branch, resolve
from fin_qlora_hub.repositories import RepositoryName, full_name, open_writable
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
    web_path,
)
from fin_qlora_hub.text import Text
from fin_qlora_hub.trees import FileEntry, all_files

router = APIRouter()

IGNORE_FILE = ".gitignore"


class AnnouncedFile(BaseModel):
    """A file that the client would like to send."""

    path: Text
    size: Annotated[int, Field(ge=0)] = 0


class Announcement(BaseModel):
    """All files of a coming commit, and the ignore rules among them."""

    files: list[AnnouncedFile]
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
    _refuse_pull_request(create_pr)
    for file in body.files:
        if file.size > hub.settings.max_file_bytes:
            raise TooLargeError(
                f"{file.path} has {file.size:,} bytes; this hub takes files of at most "
                f"{hub.settings.max_file_bytes:,} bytes."
            )
    paths = [check_path(file.path) for file in body.files]
    hub.blobs.require_space(sum(file.size for file in body.files))
    with hub.database.reading() as session:
        repository = open_writable(session, target, caller)
        commit = resolve(session, repository, revision)
        present = all_files(session, repository.id, commit.tree_oid)
    ignored = pathspec.GitIgnoreSpec.from_lines(_ignore_lines(hub, body, present))
    return JSONResponse(
        {
            "files": [
                {
                    "path": file.path,
                    # Always inline: a client with Xet would send "lfs" files by Xet alone.
                    "uploadMode": "regular",
                    "shouldIgnore": ignored.match_file(path),
                    **({"oid": present[path].content.git_sha1} if path in present else {}),
                }
                for file, path in zip(body.files, paths, strict=True)
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
    _refuse_pull_request(create_pr)
    length = request.headers.get("content-length", "0")
    await run_in_threadpool(_check_branch, hub, target, revision, caller, int(length))
    reader = ChangeReader(hub.blobs, hub.settings)
    try:
        change = await _receive(request, reader)
        oid, name = await run_in_threadpool(_commit, hub, target, revision, change, caller)
    finally:
        await run_in_threadpool(reader.discard)
    return JSONResponse(
        {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{public_url}/{web_path(target.kind)}{name}/commit/{oid}",
            "hookOutput": "",
        }
    )


def _check_branch(
    hub: Hub, target: RepositoryName, revision: str, caller: Caller | None, length: int
) -> None:
    with hub.database.reading() as session:
        find_branch(session, open_writable(session, target, caller), revision)
    hub.blobs.require_space(length)


def _commit(
    hub: Hub, target: RepositoryName, revision: str, change: Change, caller: Caller | None
) -> tuple[str, str]:
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        assert caller is not None
        made = create(session, hub.blobs, repository, branch=revision, change=change, author=caller)
        return made.oid, full_name(repository)


async def _receive(request: Request, reader: ChangeReader) -> Change:
    stream = request.stream()
    try:
        async for chunk in stream:
            await run_in_threadpool(reader.feed, chunk)
        return await run_in_threadpool(reader.finish)
    except ClientDisconnect:
        raise BadRequestError("The connection was cut before the commit had arrived.") from None
    except HubError:
        # A client that still sends would see a broken connection instead of the reason.
        async for _ in stream:
            pass
        raise


def _ignore_lines(hub: Hub, body: Announcement, present: dict[str, FileEntry]) -> list[str]:
    if body.git_ignore is not None:
        return body.git_ignore.splitlines()
    if IGNORE_FILE in present:
        content = b"".join(hub.blobs.read(present[IGNORE_FILE].content.sha256, length=1024 * 1024))
        return content.decode("utf-8", "replace").splitlines()
    return []


def _refuse_pull_request(wanted: bool) -> None:
    if wanted:
        raise BadRequestError("This hub has no pull requests: commit to a branch instead.")
