"""One connection of a client: how long it may take to ask, and how much it may say.

The parser below takes headers of any length at any pace: a few thousand clients that say a byte
now and then would keep the server from everyone else.
"""

import json
from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

HEADER_SECONDS = 20.0
MAX_HEADERS = 100
# The longest address that this hub gives out, with a signature, has some 5 KB.
MAX_HEADER_BYTES = 128 * 1024


class RefusedHeadersError(Exception):
    """A request whose head is not read any further."""


class Connection(HttpToolsProtocol):
    """Ends a connection whose next request does not begin in time or has too large a head."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._has_begun = False
        self._head_bytes = 0  # come since anything was complete
        self._taken_bytes = 0  # of this head
        self._timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head (or what follows a body) grows without an end."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > MAX_HEADER_BYTES:
            self._taken_bytes = self._head_bytes
            self.send_400_response("")
        elif self._in_head and (self._has_begun or self._head_bytes):
            self._expect()

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._has_begun = True
        self._taken_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; what comes after a body is none."""
        if not self._in_head:
            return
        self._take(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            self._take(MAX_HEADER_BYTES + 1)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the application answer."""
        self._arrived()
        self._in_head = self._has_begun = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand on a piece of the body; one that was refused must end soon."""
        self._head_bytes = 0
        if self.cycle.response_complete:
            self._expect()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request, for as long as the keep-alive lasts."""
        self._arrived()
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in the form of every refusal."""
        if self.transport.is_closing():
            return
        status, code, text = 400, "BadRequest", "This is no valid HTTP request."
        if self._taken_bytes > MAX_HEADER_BYTES:
            status, code = 431, "HeadersTooLarge"
            text = (
                f"The request has more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES:,} bytes of "
                "them."
            )
        body = json.dumps({"error": text}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"x-error-code: {code}\r\nx-error-message: {text}\r\n"
            "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _take(self, size: int) -> None:
        self._taken_bytes += size
        if self._taken_bytes > MAX_HEADER_BYTES:
            raise RefusedHeadersError

    def _expect(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEADER_SECONDS, self._out_of_time)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _out_of_time(self) -> None:
        self._timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._expect()  # an earlier answer is still on its way
        elif not self.transport.is_closing():
            self.transport.close()
