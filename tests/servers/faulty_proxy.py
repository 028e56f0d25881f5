"""A way to a server on loopback that fails like a network: on purpose, and the same each time."""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any

# An error before the server heard of the call (500, 503, closed), or after it had done it (lost).
FAULTS = ("500", "503", "closed", "lost")
_PIECE = 256 * 1024


class FaultyProxy:
    """Passes calls on to `port`; with `fail(one_in=10)` one call in ten comes to grief.

    Each connection carries one call, and the dice are thrown once a call. `out()` is a server
    that is gone, `back()` has it again, at the same address.
    """

    def __init__(self, port: int, *, seed: int = 0) -> None:
        self._target = ("127.0.0.1", port)
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._one_in = 0
        self._faults: tuple[str, ...] = FAULTS
        self._latency = 0.0
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.calls: list[str] = []
        self.failed: list[str] = []
        self.port = 0
        self.back()
        self.url = f"http://127.0.0.1:{self.port}"

    def fail(self, *, one_in: int, faults: tuple[str, ...] = FAULTS) -> None:
        """Let one call in `one_in` fail from now on; 0 is none."""
        self._one_in, self._faults = one_in, faults

    def delay(self, seconds: float) -> None:
        """Let every call wait before it is passed on."""
        self._latency = seconds

    def out(self) -> None:
        """Refuse every connection, and break those that are open."""
        with self._lock:
            if self._listener is not None:
                # Closing alone does not wake who waits in accept().
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
                self._listener = None
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def back(self) -> None:
        """Listen again where it listened before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(200)
        self.port = listener.getsockname()[1]
        with self._lock:
            self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: Any) -> None:
        self.out()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if not self._keep(client):
                return
            try:
                head, rest = _read_head(client)
                if head:
                    self._answer(client, head, rest, self._throw(head))
            finally:
                self._forget(client)

    def _keep(self, connection: socket.socket) -> bool:
        with self._lock:
            if self._listener is None:
                return False
            self._open.add(connection)
            return True

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def _throw(self, head: bytes) -> str | None:
        with self._lock:
            line = head.split(b"\r\n", 1)[0].decode("latin-1").rpartition(" ")[0]
            self.calls.append(line)
            if not self._one_in or self._dice.randrange(self._one_in):
                return None
            fault = self._dice.choice(self._faults)
            self.failed.append(f"{fault}: {line}")
            return fault

    def _answer(self, client: socket.socket, head: bytes, rest: bytes, fault: str | None) -> None:
        time.sleep(self._latency)
        if fault == "closed":
            return
        if fault in ("500", "503"):
            _read_body(client, head, rest)
            client.sendall(f"HTTP/1.1 {fault} Fault\r\n".encode() + _EMPTY)
            return
        with socket.create_connection(self._target) as server:
            if self._keep(server):
                try:
                    server.sendall(_closing(head) + rest)
                    _relay(client, server, silent=fault == "lost")
                finally:
                    self._forget(server)


_EMPTY = b"Content-Length: 0\r\nConnection: close\r\n\r\n"


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request with its empty line, and what came after it."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = client.recv(_PIECE)
        if not piece:
            return b"", b""
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", rest


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    lines = head.rstrip(b"\r\n").split(b"\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (x.partition(b":") for x in lines)]


def _closing(head: bytes) -> bytes:
    """Ask the server to end the connection with this call."""
    first, *lines = head.rstrip(b"\r\n").split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


def _read_body(client: socket.socket, head: bytes, rest: bytes) -> None:
    headers = dict(_headers(head))
    if headers.get(b"expect", b"").lower() == b"100-continue":
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    left = int(headers.get(b"content-length", b"0")) - len(rest)
    while left > 0 and (piece := client.recv(min(_PIECE, left))):
        left -= len(piece)


def _relay(client: socket.socket, server: socket.socket, *, silent: bool) -> None:
    """Pass bytes on in both directions until the server ends; `silent` keeps its answer back."""
    other = {client: server, server: client}
    waiting = [client, server]
    while True:
        for ready in select.select(waiting, [], [])[0]:
            piece = ready.recv(_PIECE)
            if not piece:
                if ready is server:
                    return
                waiting.remove(client)
                with suppress(OSError):
                    server.shutdown(socket.SHUT_WR)
            elif ready is client or not silent or piece.startswith(b"HTTP/1.1 100"):
                other[ready].sendall(piece)
