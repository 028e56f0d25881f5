"""The files of a revision: listings and questions about single paths."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse

from fin_qlora_hub.commits import last_changes
from fin_qlora_hub.errors import BadRequestError, EntryNotFoundError, UnhostedRepositoryError
from fin_qlora_hub.names import normalise_path
from fin_qlora_hub.references import resolve
from fin_qlora_hub.repositories import open_readable
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
)
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.tables import Commit, Repository
from fin_qlora_hub.trees import Entry, FolderEntry, find_entry, list_folder, walk

router = APIRouter()

PAGE = 1000
EXPANDED_PAGE = 50
MAX_PATHS = 1000


@router.get("/api/{kinds}/{namespace}/{name}/tree/{revision}")
@router.get("/api/{kinds}/{namespace}/{name}/tree/{revision}/{folder:path}")
def list_files(
    target: Target,
    revision: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    folder: Segment = "",
    recursive: bool = False,
    expand: bool = False,
    cursor: str = "",
) -> JSONResponse:
    """List a folder, or with `recursive` everything below it, in path order."""
    folder = normalise_path(folder.strip("/"))
    with hub.database.reading() as session:
        try:
            repository = open_readable(session, target, caller)
        except UnhostedRepositoryError as error:
            if not folder:
                raise
            # transformers asks for optional folders of a base model that it has in its cache,
            # and goes on only if the folder, not the model, is missing.
            raise EntryNotFoundError(f"{folder} does not exist: {error}") from error
        commit = resolve(session, repository, revision)
        entries = _below(session, repository, commit, folder, recursive=recursive)
        size = EXPANDED_PAGE if expand else PAGE
        rest = [path for path in entries if path > cursor]
        paths = rest[:size]
        last = last_changes(session, repository, commit, paths) if expand else {}
        items = [payloads.tree_item(path, entries[path], last=last.get(path)) for path in paths]
    following = paths[-1] if len(rest) > size else None
    return page(items, request=request, public_url=public_url, cursor=following)


async def _asked_paths(request: Request) -> tuple[list[str], bool]:
    body = await request.body()
    if request.headers.get("content-type", "").startswith("application/json"):
        asked = await request.json()
        if not isinstance(asked, dict) or not isinstance(asked.get("paths"), list):
            raise BadRequestError("The body must be an object with a list of 'paths'.")
        return [str(path) for path in asked["paths"]], bool(asked.get("expand"))
    form = parse_qs(body.decode("utf-8", "replace"))
    return form.get("paths", []), form.get("expand", ["false"])[-1].lower() == "true"


@router.post("/api/{kinds}/{namespace}/{name}/paths-info/{revision}")
def describe_paths(
    target: Target,
    revision: Segment,
    asked: Annotated[tuple[list[str], bool], Depends(_asked_paths)],
    hub: CurrentHub,
    caller: CurrentCaller,
) -> JSONResponse:
    """Describe those of the given paths that exist."""
    wanted, expand = asked
    if len(wanted) > MAX_PATHS:
        raise BadRequestError(f"At most {MAX_PATHS} paths may be asked for at once.")
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        commit = resolve(session, repository, revision)
        found: dict[str, Entry] = {}
        for path in dict.fromkeys(normalise_path(path.strip("/")) for path in wanted):
            entry = find_entry(session, repository.id, commit.tree_oid, path)
            if entry is not None:
                found[path] = entry
        last = last_changes(session, repository, commit, found) if expand else {}
        items = [payloads.tree_item(p, entry, last=last.get(p)) for p, entry in found.items()]
    return JSONResponse(items)


def _below(
    session: Session, repository: Repository, commit: Commit, folder: str, *, recursive: bool
) -> dict[str, Entry]:
    root: Entry | None = FolderEntry(commit.tree_oid)
    if folder:
        root = find_entry(session, repository.id, commit.tree_oid, folder)
    if not isinstance(root, FolderEntry):
        raise EntryNotFoundError(f"{folder} does not exist on {commit.oid}", commit=commit.oid)
    if recursive:
        return walk(session, repository.id, root.oid, below=folder)
    entries = list_folder(session, repository.id, root.oid)
    prefix = f"{folder}/" if folder else ""
    return {prefix + name: entry for name, entry in sorted(entries.items())}
