"""Downloads."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from fin_qlora_hub.cards import CONFIGURATION_FILES
from fin_qlora_hub.errors import EntryNotFoundError, UnhostedRepositoryError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.identity import Caller
from fin_qlora_hub.names import normalise_path
from fin_qlora_hub.references import resolve
from fin_qlora_hub.repositories import Kind, RepositoryName, open_readable
from fin_qlora_hub.routes.dependencies import CurrentCaller, CurrentHub, Segment
from fin_qlora_hub.routes.problems import gated, problem
from fin_qlora_hub.trees import FileEntry, find_entry

router = APIRouter()

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_MAX_DIGITS = 18
_TEXT_SUFFIXES = (".csv", ".jinja", ".json", ".jsonl", ".md", ".txt", ".yaml", ".yml")
_METHODS = ["GET", "HEAD"]


@dataclass(frozen=True)
class _Found:
    repository_id: int
    commit: str
    entry: FileEntry


class _UnsatisfiableRangeError(ValueError):
    """The asked part lies outside the file."""


@router.api_route("/datasets/{namespace}/{name}/resolve/{revision}/{path:path}", methods=_METHODS)
def download_from_dataset(
    namespace: Segment,
    name: Segment,
    revision: Segment,
    path: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
) -> Response:
    """Send a file of a data-set repository."""
    target = RepositoryName(Kind.DATASET, namespace, name)
    return _download(target, revision, path, request=request, hub=hub, caller=caller)


# The lower decorator comes first: an id with a namespace is tried before one without.
@router.api_route("/{name}/resolve/{revision}/{path:path}", methods=_METHODS)
@router.api_route("/{namespace}/{name}/resolve/{revision}/{path:path}", methods=_METHODS)
def download_from_model(
    name: Segment,
    revision: Segment,
    path: Segment,
    request: Request,
    hub: CurrentHub,
    caller: CurrentCaller,
    namespace: Segment = "",
) -> Response:
    """Send a file of a model repository."""
    target = RepositoryName(Kind.MODEL, namespace, name)
    try:
        return _download(target, revision, path, request=request, hub=hub, caller=caller)
    except UnhostedRepositoryError:
        return gated()


def _download(
    target: RepositoryName,
    revision: str,
    path: str,
    *,
    request: Request,
    hub: Hub,
    caller: Caller | None,
) -> Response:
    path = normalise_path(path)
    found = _find(hub, target, revision, path, caller)
    headers = _headers(found, path=path, pinned=revision == found.commit)
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    size = found.entry.content.size
    try:
        part = _part(request, size=size, etag=headers["ETag"])
    except _UnsatisfiableRangeError:
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
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    counted = target.kind is Kind.DATASET or path in CONFIGURATION_FILES
    if counted and "x-hf-download-counter" in request.headers:
        hub.downloads.count(found.repository_id)
    chunks = hub.blobs.read(found.entry.content.sha256, start=start, length=end - start)
    return StreamingResponse(chunks, status_code=status, headers=headers)


def _find(
    hub: Hub, target: RepositoryName, revision: str, path: str, caller: Caller | None
) -> _Found:
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        commit = resolve(session, repository, revision)
        entry = find_entry(session, repository.id, commit.tree_oid, path)
        if not isinstance(entry, FileEntry):
            raise EntryNotFoundError("Entry not found", commit=commit.oid)
        return _Found(repository.id, commit.oid, entry)


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


def _part(request: Request, *, size: int, etag: str) -> tuple[int, int] | None:
    """Return the asked part as start and end, or None for the whole file.

    Several parts at once, and a part of a version that is gone, are answered by the whole file,
    as HTTP allows.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if asked is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if first:
        start, end = _offset(first), min(_offset(last) + 1 if last else size, size)
        if last and _offset(last) < start:
            return None
    elif last:
        start, end = max(size - _offset(last), 0), size
    else:
        return None
    if start >= end:
        raise _UnsatisfiableRangeError
    return start, end


def _offset(digits: str) -> int:
    """Read a number of any length; beyond every file's size, one is as good as another."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
