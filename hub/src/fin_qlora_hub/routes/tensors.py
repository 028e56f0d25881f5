"""What the files of weights hold, without fetching them."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse

from fin_qlora_hub.access.gating import require_download
from fin_qlora_hub.access.names import normalise_path
from fin_qlora_hub.contents.storage import Source
from fin_qlora_hub.contents.tensors import read_header, read_index
from fin_qlora_hub.errors import BadRequestError, EntryNotFoundError
from fin_qlora_hub.git.references import DEFAULT_BRANCH, resolve
from fin_qlora_hub.git.trees import FileEntry, find_entries
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, open_readable
from fin_qlora_hub.routes.dependencies import COSTLY, CurrentCaller, CurrentHub, Segment
from fin_qlora_hub.text import shortened

router = APIRouter()

MAX_SHARDS = 1000


@router.get("/api/models/{namespace}/{name}/safetensors-metadata/{path:path}", dependencies=COSTLY)
def describe_weights(
    namespace: Segment,
    name: Segment,
    path: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
) -> JSONResponse:
    """Show the header of a safetensors file of `main`, or those of all that an index names."""
    target = RepositoryName(Kind.MODEL, namespace, name)
    path = normalise_path(path)

    def find(*paths: str) -> dict[str, Source]:
        with hub.database.reading() as session:
            repository = open_readable(session, target, caller)
            require_download(session, repository, caller)
            commit = resolve(session, repository, DEFAULT_BRANCH)
            found = find_entries(session, repository.id, commit.tree_oid, paths)
            sources = {}
            for wanted in paths:
                entry = found.get(wanted)
                if not isinstance(entry, FileEntry):
                    message = f"{shortened(wanted)} does not exist"
                    raise EntryNotFoundError(message, commit=commit.oid)
                content = entry.content
                sources[wanted] = hub.storage.source(
                    session, repository.id, content.sha256, size=content.size
                )
            return sources

    source = find(path)[path]
    if not path.endswith(".index.json"):
        header = read_header(source, path=path)
        return _answer(header.get("__metadata__") or {}, {path: header})
    metadata, names = read_index(source, path=path)
    if len(names) > MAX_SHARDS:
        raise BadRequestError(f"{path} names more than {MAX_SHARDS:,} files.")
    folder = path.rpartition("/")[0]
    places = {name: f"{folder}/{name}" if folder else name for name in names}
    shards = find(*places.values())
    headers = {name: read_header(shards[place], path=place) for name, place in places.items()}
    return _answer(metadata, headers)


def _answer(metadata: dict[str, Any], headers: dict[str, Any]) -> JSONResponse:
    return JSONResponse({"index": {"metadata": metadata}, "headers": headers})
