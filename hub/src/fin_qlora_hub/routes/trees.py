"""The files of a revision: listings and questions about single paths."""

from collections.abc import Iterable
from itertools import islice
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, ValidationError

from fin_qlora_hub.access.names import normalise_path
from fin_qlora_hub.errors import BadRequestError, EntryNotFoundError, UnhostedRepositoryError
from fin_qlora_hub.git.browsing import list_below
from fin_qlora_hub.git.history import last_changes
from fin_qlora_hub.git.references import resolve
from fin_qlora_hub.git.trees import Entry, FileEntry, find_entries
from fin_qlora_hub.repositories.repository import open_readable
from fin_qlora_hub.routes import payloads
from fin_qlora_hub.routes.answers import Json
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
)
from fin_qlora_hub.routes.mirrored import ARRIVES
from fin_qlora_hub.routes.pages import page
from fin_qlora_hub.text import Text, shortened
from fin_qlora_hub.xet.files import advertised_hashes

router = APIRouter()

PAGE = 1000
EXPANDED_PAGE = 50
MAX_PATHS = 1000


@router.get("/api/{kinds}/{namespace}/{name}/tree/{revision}", dependencies=ARRIVES)
@router.get("/api/{kinds}/{namespace}/{name}/tree/{revision}/{folder:path}", dependencies=ARRIVES)
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
) -> Json:
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
            raise EntryNotFoundError(f"{shortened(folder)} does not exist: {error}") from error
        commit = resolve(session, repository, revision)
        below = list_below(
            *(session, repository.id, commit.tree_oid),
            folder=folder,
            recursive=recursive,
            after=cursor,
        )
        if below is None:
            message = f"{shortened(folder)} does not exist on {shortened(revision)}"
            raise EntryNotFoundError(message, commit=commit.oid)
        size = EXPANDED_PAGE if expand else PAGE
        entries = dict(islice(below, size))
        last = last_changes(session, repository, commit, entries) if expand else {}
        hashes = advertised_hashes(session, repository.id, _large(entries.values()))
        items = [
            payloads.tree_item(path, entry, last=last.get(path), xet_hashes=hashes)
            for path, entry in entries.items()
        ]
        following = next(reversed(entries)) if next(below, None) else None
    return page(items, request=request, public_url=public_url, cursor=following)


def _large(entries: Iterable[Entry]) -> list[str]:
    return [e.content.sha256 for e in entries if isinstance(e, FileEntry) and e.large]


class AskedPaths(BaseModel):
    """Paths about which a client asks, as a form or as JSON."""

    paths: Annotated[list[Text], Field(max_length=MAX_PATHS)]
    expand: bool = False


async def _asked_paths(request: Request) -> AskedPaths:
    body = await request.body()
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            return AskedPaths.model_validate_json(body)
        form = parse_qs(body.decode("utf-8", "replace"))
        return AskedPaths.model_validate(
            {"paths": form.get("paths", []), "expand": form.get("expand", ["false"])[-1]}
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise BadRequestError(f"The request is not valid at {place}: {first['msg']}.") from None


@router.post("/api/{kinds}/{namespace}/{name}/paths-info/{revision}", dependencies=ARRIVES)
def describe_paths(
    target: Target,
    revision: Segment,
    asked: Annotated[AskedPaths, Depends(_asked_paths)],
    hub: CurrentHub,
    caller: CurrentCaller,
) -> Json:
    """Describe those of the given paths that exist."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        commit = resolve(session, repository, revision)
        # Clients copy a file to another repository only if they are told its Xet hash here.
        paths = dict.fromkeys(normalise_path(path.strip("/")) for path in asked.paths)
        found = find_entries(session, repository.id, commit.tree_oid, paths)
        last = last_changes(session, repository, commit, found) if asked.expand else {}
        hashes = advertised_hashes(session, repository.id, _large(found.values()), all_sizes=True)
        items = [
            payloads.tree_item(path, entry, last=last.get(path), xet_hashes=hashes)
            for path, entry in found.items()
        ]
    return Json(items)
