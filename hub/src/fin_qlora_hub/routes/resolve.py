"""Downloads."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from fin_qlora_hub.access.gating import require_download
from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.names import normalise_path
from fin_qlora_hub.access.visibility import open_readable, see
from fin_qlora_hub.audit.record import named_place
from fin_qlora_hub.cards.card import CONFIGURATION_FILES
from fin_qlora_hub.contents.direct import SMALLEST_REDIRECTED
from fin_qlora_hub.contents.storage import Source
from fin_qlora_hub.errors import EntryNotFoundError, NotFetchedError, UnhostedRepositoryError
from fin_qlora_hub.git.references import look_up
from fin_qlora_hub.git.trees import FileEntry, find_entry
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.mirrors.reading_through import Arrival, open_source
from fin_qlora_hub.repositories.repository import Kind, RepositoryName
from fin_qlora_hub.routes.dependencies import CurrentCaller, CurrentHub, PublicUrl, Segment
from fin_qlora_hub.routes.mirrored import ARRIVES, follow
from fin_qlora_hub.routes.problems import gated, problem
from fin_qlora_hub.routes.ranges import UnsatisfiableRangeError, asked_range
from fin_qlora_hub.text import shortened
from fin_qlora_hub.xet.files import advertised_hashes

router = APIRouter()

_TEXT_SUFFIXES = (".csv", ".jinja", ".json", ".jsonl", ".md", ".txt", ".yaml", ".yml")
_METHODS = ["GET", "HEAD"]
_OF_THE_BYTES = {"Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range"}
_DOWNLOADS = "x-hf-download-counter"
_CLIENT = re.compile(r"hf_hub/([0-9]{1,4})\.")
_SAYS_WHEN_IT_DOWNLOADS = 2


@dataclass(frozen=True)
class _Found:
    repository_id: int
    name: str
    commit: str
    entry: FileEntry
    source: Source | None
    arrival: Arrival | None
    xet_hash: str | None


@router.api_route(
    "/datasets/{namespace}/{name}/resolve/{revision}/{path:path}",
    methods=_METHODS,
    dependencies=ARRIVES,
)
def download_from_dataset(
    namespace: Segment,
    name: Segment,
    revision: Segment,
    path: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
) -> Response:
    """Send a file of a data-set repository."""
    target = RepositoryName(Kind.DATASET, namespace, name)
    return _download(
        target, revision, path, request=request, hub=hub, caller=caller, public_url=public_url
    )


# The lower decorator comes first: an id with a namespace is tried before one without.
@router.api_route("/{name}/resolve/{revision}/{path:path}", methods=_METHODS)
@router.api_route(
    "/{namespace}/{name}/resolve/{revision}/{path:path}", methods=_METHODS, dependencies=ARRIVES
)
def download_from_model(
    name: Segment,
    revision: Segment,
    path: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
    namespace: Segment = "",
) -> Response:
    """Send a file of a model repository."""
    target = RepositoryName(Kind.MODEL, namespace, name)
    try:
        return _download(
            target, revision, path, request=request, hub=hub, caller=caller, public_url=public_url
        )
    except UnhostedRepositoryError:
        if _only_asks(request):
            raise
        return gated()


def _only_asks(request: Request) -> bool:
    """Say whether a client asks if a file exists, and would not look for it in its cache.

    Older clients do not say which requests belong to a download.
    """
    version = _CLIENT.search(request.headers.get("user-agent", ""))
    says = version is not None and int(version[1]) >= _SAYS_WHEN_IT_DOWNLOADS
    return request.method == "HEAD" and says and _DOWNLOADS not in request.headers


def _download(
    target: RepositoryName,
    revision: str,
    path: str,
    *,
    request: Request,
    hub: Hub,
    caller: Caller | None,
    public_url: str,
) -> Response:
    path = normalise_path(path)
    found = _find(hub, target, revision, path, caller, described=request.method == "HEAD")
    headers = _headers(found, path=path, pinned=revision == found.commit)
    if found.xet_hash is not None:
        api = f"{public_url}/api/{target.kind}s/{found.name}"
        headers |= _xet_headers(found.xet_hash, f"{api}/xet-read-token/{found.commit}")
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    size = found.entry.content.size
    try:
        part = asked_range(request, size=size, etag=headers["ETag"])
    except UnsatisfiableRangeError:
        return problem(
            416,
            "RangeNotSatisfiable",
            f"The file has {size} bytes: the asked range lies outside.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    start, end = part or (0, size)
    headers["Content-Length"] = str(end - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if part else 200
    if found.source is None:
        return Response(status_code=status, headers=headers)
    if found.arrival is not None and end < size and not found.arrival.verified:
        raise NotFetchedError(
            f"{shortened(path)} is being fetched from another hub: parts of it can be had once it "
            "is here."
        )
    hub.recorder.read(
        named_place(found.repository_id, target.kind, found.name),
        path,
        way="file",
        commit=found.commit,
    )
    counted = target.kind is Kind.DATASET or path in CONFIGURATION_FILES
    if counted and _DOWNLOADS in request.headers:
        hub.downloads.count(found.repository_id)
    if found.arrival is not None:
        growing = follow(found.arrival, found.source, start=start, length=end - start)
        return StreamingResponse(growing, status_code=status, headers=headers)
    if (location := _elsewhere(hub, found, headers, request)) is not None:
        return location
    chunks = found.source.read(start=start, length=end - start)
    return StreamingResponse(chunks, status_code=status, headers=headers)


def _elsewhere(
    hub: Hub, found: _Found, headers: dict[str, str], request: Request
) -> Response | None:
    """Send a client on to where it gets a large content past the hub, if there is such a way."""
    assert found.source is not None
    # The object store has other ETags: a client that has a part must hear of a change from here.
    if hub.direct is None or found.source.chunked is not None or "if-range" in request.headers:
        return None
    if found.source.size < SMALLEST_REDIRECTED:
        return None
    location = hub.direct.content_url(
        found.source.sha256,
        media_type=headers["Content-Type"],
        disposition=headers["Content-Disposition"],
    )
    kept = {name: headers[name] for name in headers if name not in _OF_THE_BYTES}
    kept |= {"Location": location, "Cache-Control": "private, no-store"}
    return Response(status_code=302, headers=kept)


def _find(
    hub: Hub,
    target: RepositoryName,
    revision: str,
    path: str,
    caller: Caller | None,
    *,
    described: bool,
) -> _Found:
    """Find a file; one that is only described needs no list of the chunks that make it up."""
    with hub.database.reading() as session:
        repository = see(session, target, caller)
        if repository.gated is not None:
            require_download(session, open_readable(session, target, caller), caller)
        commit = look_up(session, repository.id, revision)
        entry = find_entry(session, repository.id, commit.tree_oid, path)
        if not isinstance(entry, FileEntry):
            raise EntryNotFoundError("Entry not found", commit=commit.oid)
        content = entry.content
        source = arrival = None
        if not described:
            source, arrival = open_source(hub.storage, hub.mirror, session, repository.id, content)
        large = [content.sha256] if entry.large else []
        advertised = advertised_hashes(session, repository.id, large)
        return _Found(
            *(repository.id, repository.name, commit.oid, entry, source, arrival),
            advertised.get(content.sha256),
        )


def _xet_headers(xet_hash: str, token_url: str) -> dict[str, str]:
    return {
        "X-Xet-Hash": xet_hash,
        "X-Xet-Refresh-Route": token_url,
        "Link": f'<{token_url}>; rel="xet-auth"',
    }


def _headers(found: _Found, *, path: str, pinned: bool) -> dict[str, str]:
    content = found.entry.content
    large = found.entry.large
    etag = f'"{content.sha256 if large else found.entry.oid}"'
    text = path.lower().endswith(_TEXT_SUFFIXES)
    headers = {
        "X-Repo-Commit": found.commit,
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Content-Type": "text/plain; charset=utf-8" if text else "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2])}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=31536000, immutable" if pinned else "private, no-cache",
    }
    if large:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(content.size)}
    return headers
