"""Acts that change history: large files taken out for good or copied elsewhere, and squashing."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import require_download
from fin_qlora_hub.contents.copying import copy_chunked, note_copied
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.inventory import PAGE, list_large_files
from fin_qlora_hub.git.rewriting import remove_large_files, squash
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, open_readable, open_writable
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import (
    COSTLY,
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
    writing,
)
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.text import Text

router = APIRouter()

_FILES = "/api/{kinds}/{namespace}/{name}/lfs-files"
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Deletions(BaseModel):
    """Which contents to take out."""

    sha: Annotated[list[Sha256], Field(max_length=1000)]
    rewrite_history: bool = Field(default=True, alias="rewriteHistory")


class LargeFileBatch(BaseModel):
    """What to do with large files."""

    deletions: Deletions


class CopyTarget(BaseModel):
    """The repository that gets the files."""

    type: Kind = Kind.MODEL
    name: Text


class CopiedFile(BaseModel):
    """A file to copy."""

    model_config = ConfigDict(extra="ignore")

    sha256: Sha256


class Duplication(BaseModel):
    """Files of this repository that another one should hold as well."""

    target: CopyTarget
    files: Annotated[list[CopiedFile], Field(max_length=1000)]


class Squash(BaseModel):
    """What the one commit says."""

    message: Text = "Super-squash branch using huggingface_hub"


@router.get(_FILES)
def list_files(
    target: Target,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    cursor: str = "",
) -> Json:
    """List the large files of all commits."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        found = list_large_files(session, repository, after=cursor)
        shown = [
            {
                "fileOid": file.sha256,
                "oid": file.sha256,
                "filename": file.path,
                "size": file.size,
                "pushedAt": payloads.moment(file.pushed_at),
                "ref": file.ref,
            }
            for file in found[:PAGE]
        ]
    following = found[PAGE - 1].sha256 if len(found) > PAGE else None
    return page(shown, request=request, public_url=public_url, cursor=following)


@router.post(_FILES + "/batch", dependencies=COSTLY)
@writing
def remove_files(
    target: Target, body: LargeFileBatch, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Take large files out of every commit."""
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        if not body.deletions.rewrite_history:
            raise BadRequestError(
                "This hub keeps no commit that names a file without having it: allow it to "
                "rewrite the history."
            )
        remove_large_files(session, repository, body.deletions.sha)
    return JSONResponse({"success": True})


@router.post(_FILES + "/duplicate", dependencies=COSTLY)
@writing
def copy_files(
    target: Target, body: Duplication, hub: CurrentHub, caller: CurrentCaller
) -> JSONResponse:
    """Let another repository hold large files of this one."""
    namespace, _, name = body.target.name.partition("/")
    other = RepositoryName(body.target.type, namespace, name)
    failed = []
    with hub.database.writing() as session:
        source = open_readable(session, target, caller)
        require_download(session, source, caller)
        receiver = open_writable(session, other, caller)
        for file in body.files:
            if not copy_chunked(session, hub.storage, source, receiver, file.sha256):
                failed.append({"sha256": file.sha256, "error": "The repository has no such file."})
        note_copied(session, source, receiver, [file.sha256 for file in body.files])
    return JSONResponse({"success": not failed, "failed": failed})


@router.post("/api/{kinds}/{namespace}/{name}/super-squash/{branch}", dependencies=COSTLY)
@writing
def squash_branch(
    target: Target,
    branch: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    body: Squash | None = None,
) -> JSONResponse:
    """Make a branch one commit."""
    message = (body or Squash()).message
    with hub.database.writing() as session:
        repository = open_writable(session, target, caller)
        assert caller is not None
        oid = squash(session, repository, branch, message=message, author=caller)
    return JSONResponse({"commitOid": oid})
