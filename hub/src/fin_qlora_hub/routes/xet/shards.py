"""Shards: the files that a client has sent in xorbs, verified and registered."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from fin_qlora_hub.errors import HubError, OperationalError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.routes.dependencies import CurrentHub
from fin_qlora_hub.routes.receiving import receive
from fin_qlora_hub.routes.xet.access import Holder, UploadSlot
from fin_qlora_hub.xet.access import Access, Scope, require
from fin_qlora_hub.xet.registering import Progress, register_shard
from fin_qlora_hub.xet.shards import MAX_BYTES

router = APIRouter()

FRAME_SECONDS = 5.0
_logger = logging.getLogger("fin_qlora_hub")


@router.post("/xet/{place}/shards")
@router.post("/xet/{place}/v1/shards")
async def take_shard(
    request: Request, hub: CurrentHub, access: Holder, slot: UploadSlot
) -> JSONResponse:
    """Register the files of a shard; 1 says that some were new, 0 that all were known."""
    async with await _Shard.receive(request, hub, access) as shard:
        work = partial(_register, hub, access, shard.path)
        new = await asyncio.wrap_future(hub.verifiers.submit(access.user_id, work))
    return JSONResponse({"result": int(new)})


@router.post("/xet/{place}/v2/shards")
async def take_shard_with_progress(
    request: Request, hub: CurrentHub, access: Holder, slot: UploadSlot
) -> StreamingResponse:
    """Register the files of a shard and tell meanwhile how far it is."""
    shard = await _Shard.receive(request, hub, access)
    return StreamingResponse(_frames(hub, access, shard), media_type="application/x-ndjson")


class _Shard:
    """An uploaded shard in a temporary file."""

    def __init__(self, path: Path, discard: Callable[[], None]) -> None:
        self.path = path
        self._discard = discard

    @classmethod
    async def receive(cls, request: Request, hub: Hub, access: Access) -> "_Shard":
        def check() -> None:
            with hub.database.reading() as session:
                require(session, access, scope=Scope.WRITE)

        await run_in_threadpool(check)
        file = await run_in_threadpool(partial(hub.xorbs.incoming, limit=MAX_BYTES, what="shard"))
        try:
            await receive(request, file.write, executor=hub.receivers)
            await run_in_threadpool(file.close)
        except BaseException:
            await run_in_threadpool(file.discard)
            raise
        return cls(file.path, file.discard)

    async def __aenter__(self) -> "_Shard":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await run_in_threadpool(self._discard)


def _register(
    hub: Hub, access: Access, path: Path, progress: Progress = lambda _verified, _total: None
) -> bool:
    return register_shard(
        hub.database,
        hub.xorbs,
        access,
        path,
        max_file_bytes=hub.settings.max_file_bytes,
        progress=progress,
    )


async def _frames(hub: Hub, access: Access, shard: _Shard) -> AsyncIterator[bytes]:
    reached = (0, 0)

    def note(verified: int, total: int) -> None:
        nonlocal reached
        reached = verified, total

    async with shard:
        register = partial(_register, hub, access, shard.path, note)
        work = asyncio.wrap_future(hub.verifiers.submit(access.user_id, register))
        try:
            while not (await asyncio.wait([work], timeout=FRAME_SECONDS))[0]:
                verified, total = reached
                yield _frame(type="validating", verified=verified, total=total)
            await work
        except HubError as error:
            retryable = isinstance(error, OperationalError)
            yield _frame(type="error", message=str(error), retryable=retryable)
        except Exception:
            _logger.exception("a shard could not be registered")
            yield _frame(type="error", message="The hub failed; its log says why.", retryable=True)
        else:
            yield _frame(type="committing", stage="syncing")
            yield _frame(type="result")
        finally:
            # The file must stay while it is read, even if the client has gone.
            with suppress(Exception):
                await asyncio.shield(work)


def _frame(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"
