"""A hub on loopback that says and does what its test wants, to be mirrored at one's own risk."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

OID = "c" * 40


def git_id(data: bytes) -> str:
    """Return the id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class UnfriendlyUpstream:
    """One repository, `lab/base`, with the files of `files`; `large` ones by their SHA-256.

    `instead` holds what is done for a path in place of the usual: a function of the request's
    handler, which returns True where it has answered. `requests` are those that came, with their
    headers.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.large: set[str] = set()
        self.instead: dict[str, Callable[[BaseHTTPRequestHandler], bool]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.oid = OID
        self.url = ""

    def add(self, path: str, data: bytes, *, large: bool = False) -> None:
        """Add a file."""
        self.files[path] = data
        if large:
            self.large.add(path)

    def item(self, path: str) -> dict[str, object]:
        """Return what the list of files says of a file."""
        data = self.files[path]
        shown: dict[str, object] = {
            "type": "file",
            "path": path,
            "oid": git_id(data),
            "size": len(data),
        }
        if path in self.large:
            shown["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return shown

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request as a hub would, or as the test wants."""
        path = unquote(urlsplit(request.path).path)
        self.requests.append((path, {k.lower(): v for k, v in request.headers.items()}))
        instead = self.instead.get(path)
        if instead is not None and instead(request):
            return
        api = "/api/models/lab/base"
        oid = self.oid
        if path.startswith(f"{api}/revision/"):
            send_json(request, {"id": "lab/base", "sha": oid})
        elif path == f"{api}/refs":
            send_json(request, {"branches": [{"name": "main", "targetCommit": oid}]})
        elif path == f"{api}/tree/{oid}":
            send_json(request, [self.item(path) for path in self.files])
        elif path == f"{api}/commits/{oid}":
            send_json(request, [{"id": oid, "title": "made", "date": "2026-01-02T03:04:05.000Z"}])
        elif path.startswith(f"/lab/base/resolve/{oid}/"):
            send(request, self.files[path.removeprefix(f"/lab/base/resolve/{oid}/")])
        else:
            send(request, b"{}", status=404, headers={"X-Error-Code": "RepoNotFound"})

    def asked(self, part: str) -> list[dict[str, str]]:
        """Return the headers of those requests whose path has a part."""
        return [headers for path, headers in self.requests if part in path]


def send(
    request: BaseHTTPRequestHandler,
    data: bytes,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    announced: int | None = None,
) -> bool:
    """Send bytes, the asked part of them; `announced` is a length that need not be true."""
    start = 0
    asked = request.headers.get("Range", "")
    if status == 200 and asked.startswith("bytes=") and asked.endswith("-"):
        start = int(asked[6:-1])
        status = 206
        headers = {
            **(headers or {}),
            "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}",
        }
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    length = len(data) - start if announced is None else announced
    request.send_header("Content-Length", str(length))
    request.end_headers()
    request.wfile.write(data[start:])
    return True


def send_json(request: BaseHTTPRequestHandler, value: object) -> bool:
    """Send a value."""
    return send(request, json.dumps(value).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def unfriendly_upstream() -> Iterator[UnfriendlyUpstream]:
    """Run one for a while."""
    upstream = UnfriendlyUpstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upstream.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        upstream.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()
