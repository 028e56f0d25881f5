"""The edge between HTTP and the application: raw paths, request ids, size limits."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fin_qlora_hub.routes.problems import problem
from fin_qlora_hub.routes.receiving import drain
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.xet.shards import MAX_BYTES
from fin_qlora_hub.xet.xorbs import MAX_BODY_BYTES

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_MAX_LENGTH_DIGITS = 18
_COMMIT_PATH = re.compile(r"/api/[^/]+/[^/]+/[^/]+/commit/")
_XORB_PATH = re.compile(r"/xet/[^/]+/(?:(?:v1/)?xorbs|xorb-data)/")
_SHARD_PATH = re.compile(r"/xet/[^/]+/(?:v[12]/)?shards$")


class Boundary:
    """Wraps the application.

    Paths stay percent-encoded until a route has matched, so that `refs%2Fheads%2Fmain` is one
    segment. No body may exceed its limit, and every answer carries the id of its request.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        host_and_path = (settings.public_url or "").partition("://")[2]
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
        send = _stamped(send, request_id)
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
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit(path):
                if message.get("more_body", False):
                    await drain(receive)
                raise HTTPException(413, self._too_large(path))
            return message

        return limited


def _stamped(send: Send, request_id: str) -> Send:
    async def stamped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = request_id
            headers["x-content-type-options"] = "nosniff"
        await send(message)

    return stamped
