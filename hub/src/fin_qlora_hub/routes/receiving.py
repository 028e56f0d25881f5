"""Large bodies: taken in pieces, no more of them at once than the server has memory for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from fin_qlora_hub.errors import BadRequestError, BusyError, HubError

PIECE_BYTES = 1024 * 1024
IDLE_SECONDS = 60
# A client that sends a byte now and then would keep its slot for ever.
SLOWEST_BYTES_PER_SECOND = 16 * 1024
WAIT_SECONDS = 15
# What a client still sends after a refusal is read up to here, so that it sees the reason.
DRAINED_BYTES = 64 * 1024 * 1024


class Discardable(Protocol):
    """Something received that can be forgotten."""

    def discard(self) -> None:
        """Forget it."""


class UploadSlots:
    """Lets so many bodies in at once; others wait for a while, then are told to come again.

    Nobody holds more than half of the slots, and one that gets free goes to whoever holds fewest.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._share = (count + 1) // 2
        self._held: Counter[int] = Counter()
        self._waiting: dict[asyncio.Future[None], int] = {}

    @asynccontextmanager
    async def one(self, user: int) -> AsyncIterator[None]:
        """Hold a slot for a user; raises BusyError where none gets free."""
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[admitted] = user
        self._admit()
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await admitted
            except TimeoutError:
                raise BusyError("The hub takes as many uploads as it can: try again.") from None
            yield
        finally:
            if self._waiting.pop(admitted, None) is None:
                self._release(user)

    def _admit(self) -> None:
        while self._free:
            entitled = [f for f, user in self._waiting.items() if self._held[user] < self._share]
            if not entitled:
                return
            admitted = min(entitled, key=lambda future: self._held[self._waiting[future]])
            user = self._waiting.pop(admitted)
            self._held[user] += 1
            self._free -= 1
            if not admitted.done():  # else its finally-block gives the slot back
                admitted.set_result(None)

    def _release(self, user: int) -> None:
        self._free += 1
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]
        self._admit()


async def receive(request: Request, take: Callable[[bytes], object], *, executor: Executor) -> None:
    """Hand the body to `take`, piece by piece, in a thread of `executor`.

    While one piece is being written the next arrives, and no more: memory stays flat.
    """
    stream = request.stream()
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[object] | None = None
    held, size, arrived = [], 0, False
    end = loop.time() + IDLE_SECONDS
    try:
        async with asyncio.timeout_at(end) as patience:
            async for chunk in stream:
                end += len(chunk) / SLOWEST_BYTES_PER_SECOND
                patience.reschedule(min(loop.time() + IDLE_SECONDS, end))
                held.append(chunk)
                size += len(chunk)
                if size < PIECE_BYTES:
                    continue
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(executor, take, b"".join(held))
                held, size = [], 0
        arrived = True
        if writing is not None:
            await writing
        if held:
            writing = loop.run_in_executor(executor, take, b"".join(held))
            await writing
    except ClientDisconnect:
        raise BadRequestError("The connection was cut before everything had arrived.") from None
    except TimeoutError:
        raise BusyError(
            f"Nothing arrived for {IDLE_SECONDS} seconds, or too little: send it again."
        ) from None
    except HubError:
        if not arrived:
            await drain(request.receive)
        raise
    finally:
        if writing is not None and not writing.done():
            with suppress(Exception):
                await asyncio.shield(writing)


async def drain(receive: Receive) -> None:
    """Read what a refused client still sends, up to a limit.

    A connection closed on unread bytes is reset, and the client would see that instead of the
    reason.
    """
    left = DRAINED_BYTES
    with suppress(TimeoutError, HTTPException):
        async with asyncio.timeout(IDLE_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
