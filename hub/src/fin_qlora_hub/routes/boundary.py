"""The edge between HTTP and the application: raw paths, hosts, request ids, limits, headers."""

import asyncio
import re
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fin_qlora_hub.audit.acting import Actor, Means, act_as
from fin_qlora_hub.routes.problems import problem
from fin_qlora_hub.routes.receiving import IDLE_SECONDS, SLOWEST_BYTES_PER_SECOND, drain
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.xet.shards import MAX_BYTES
from fin_qlora_hub.xet.xorbs import MAX_BODY_BYTES

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_LENGTH_DIGITS = 18
_MAX_ADDRESS = 64
_COMMIT_PATH = re.compile(r"/api/[^/]+/[^/]+/[^/]+/commit/")
_XORB_PATH = re.compile(r"/xet/[^/]+/(?:(?:v1/)?xorbs|xorb-data)/")
_SHARD_PATH = re.compile(r"/xet/[^/]+/(?:v[12]/)?shards$")
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# A client that reads nothing for so long has gone.
STALLED_SECONDS = 10 * 60
# What a browser may do with an answer, unless its route says otherwise: nothing.
_GUARDS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}
_HSTS = {b"strict-transport-security": b"max-age=31536000"}


class Boundary:
    """Wraps the application.

    Paths stay percent-encoded until a route has matched, so that `refs%2Fheads%2Fmain` is one
    segment. No body may exceed its limit, and every answer carries the id of its request.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        scheme, _, host_and_path = (settings.public_url or "").partition("://")
        self._guards = _GUARDS | (_HSTS if scheme == "https" else {})
        self._prefix = "/" + host_and_path.partition("/")[2].strip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = self._route_path(scope)
        scope = {**scope, "path": path}
        headers = Headers(scope=scope)
        request_id = headers.get("x-amzn-trace-id") or headers.get("x-request-id") or ""
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = uuid.uuid4().hex
        send = _stamped(send, {**self._guards, b"x-request-id": request_id.encode()})
        if not _names_one_host(scope):
            response = problem(
                400,
                "BadRequest",
                "The request must name one host, as in 'Host: hub.example'.",
                headers={"connection": "close"},
            )
            await response(scope, receive, send)
            return
        client = scope.get("client")
        # Where all proxies are trusted, it is whatever the client says.
        address = client[0][:_MAX_ADDRESS] if client else None
        act_as(Actor(Means.REQUEST, address=address, request=request_id))
        announced = headers.get("content-length", "0")
        too_long = len(announced) > _MAX_LENGTH_DIGITS
        if too_long or (announced.isdecimal() and int(announced) > self._limit(path)):
            if headers.get("expect", "").lower() != "100-continue":
                await drain(receive)
            response = problem(
                413, "TooLarge", self._too_large(path), headers={"connection": "close"}
            )
            await response(scope, receive, send)
            return
        await self._app(scope, self._limited(receive, path), send)

    def _route_path(self, scope: Scope) -> str:
        raw = scope.get("raw_path") or scope["path"].encode()
        path: str = raw.partition(b"?")[0].decode("ascii", "replace")
        if self._prefix != "/" and path.startswith(self._prefix + "/"):
            path = path[len(self._prefix) :]
        return path

    def _limit(self, path: str) -> int:
        if _COMMIT_PATH.match(path):
            return self._settings.max_commit_bytes
        if _XORB_PATH.match(path):
            return MAX_BODY_BYTES
        if path in ("/lfs/upload", "/lfs/part"):
            return self._settings.max_file_bytes
        if _SHARD_PATH.match(path):
            return MAX_BYTES
        return self._settings.max_request_bytes

    def _too_large(self, path: str) -> str:
        return (
            f"The request is larger than the {self._limit(path):,} bytes that this hub takes: "
            "send less at once, or ask the administrator to raise the limit."
        )

    def _limited(self, receive: Receive, path: str) -> Receive:
        """Stop at the limit, and where what is no large body comes too slowly."""
        limit = self._limit(path)
        at_leisure = limit == self._settings.max_request_bytes
        received, ended = 0, False
        begun = asyncio.get_running_loop().time()

        async def limited() -> Message:
            nonlocal received, ended
            end = begun + IDLE_SECONDS + received / SLOWEST_BYTES_PER_SECOND
            try:
                # Large bodies have their own patience, and after the body only the end can come.
                async with asyncio.timeout_at(end if at_leisure and not ended else None):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408, "The request came too slowly: send it again.", {"connection": "close"}
                ) from None
            received += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if received > limit:
                if message.get("more_body", False):
                    await drain(receive)
                raise HTTPException(413, self._too_large(path))
            return message

        return limited


def _names_one_host(scope: Scope) -> bool:
    """Say whether addresses can be made from what the client calls this server."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if not hosts:
        return bool(scope["http_version"] == "1.0")
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


def _stamped(send: Send, guards: Mapping[bytes, bytes]) -> Send:
    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            told = {name for name, _ in headers}
            headers += [(name, value) for name, value in guards.items() if name not in told]
            message = {**message, "headers": headers}
        async with asyncio.timeout(STALLED_SECONDS):
            await send(message)

    return stamped
