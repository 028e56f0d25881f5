"""Reading what is mirrored: waiting for a description, and reading along while a file arrives."""

import asyncio
import os
from collections.abc import AsyncIterator
from urllib.parse import unquote

from fastapi import Depends, Request
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from fin_qlora_hub.access.visibility import Kind, RepositoryName
from fin_qlora_hub.contents.storage import Source
from fin_qlora_hub.errors import NotDescribedError, NotMirroredError, UpstreamError
from fin_qlora_hub.git.references import DEFAULT_BRANCH
from fin_qlora_hub.mirrors.reading_through import Arrival, Look, ReadThrough
from fin_qlora_hub.routes.dependencies import KINDS, CurrentCaller, CurrentHub

# How long a reader waits for a description: clients give up a download after ten seconds.
API_SECONDS = 30.0
DOWNLOAD_SECONDS = 8.0
# How long a reader waits for the next bytes of a file.
IDLE_SECONDS = 60.0
_PAUSE_SECONDS = 0.05
_PIECE_BYTES = 1024 * 1024


async def _arrived(request: Request, hub: CurrentHub, caller: CurrentCaller) -> None:
    """Have a repository described that may be mirrored, for those who may read it.

    Whoever only asks for headers never waits, and nobody does for what is here already.
    """
    mirror = hub.mirror
    namespace = unquote(request.path_params.get("namespace", ""))
    if mirror is None or caller is None or not namespace:
        return
    name = RepositoryName(_kind(request), namespace, unquote(request.path_params["name"]))
    revision = unquote(request.path_params.get("revision", DEFAULT_BRANCH))
    if mirror.is_known(name, revision):
        return
    standing = await run_in_threadpool(mirror.standing, name, revision, caller)
    if not standing.allowed:
        return
    look = mirror.look(name, revision)
    if not standing.here and not request.path_params.get("folder"):
        await _wait(mirror, name, revision, look, request)


def _kind(request: Request) -> Kind:
    kinds = request.path_params.get("kinds")
    if kinds is not None:
        return KINDS[kinds]
    return Kind.DATASET if request.scope["path"].startswith("/datasets/") else Kind.MODEL


async def _wait(
    mirror: ReadThrough, name: RepositoryName, revision: str, look: Look, request: Request
) -> None:
    download = "path" in request.path_params
    seconds = DOWNLOAD_SECONDS if download else API_SECONDS
    if not look.done.done() and request.method != "HEAD":
        await asyncio.wait([asyncio.wrap_future(look.done)], timeout=seconds)
    if not look.done.done():
        # Clients try a download again by themselves, but nothing else.
        refusal = NotDescribedError if download else NotMirroredError
        raise refusal(
            f"{name} is being fetched from another hub: ask again in a minute, or have it in your "
            "local cache."
        )
    if look.problem is not None:
        raise NotMirroredError(f"{name} is not on this hub, which would mirror it: {look.problem}")


ARRIVES = (Depends(_arrived),)


async def follow(
    arrival: Arrival, source: Source, *, start: int, length: int
) -> AsyncIterator[bytes]:
    """Yield the bytes of a file while it grows; the last one only if all have proved right.

    Whoever reads along gets nothing that looks whole and is not: where the file turns out to be
    another one, the answer breaks off.
    """
    loop = asyncio.get_running_loop()
    position, end = start, start + length
    patience = loop.time() + IDLE_SECONDS
    handle = None
    try:
        while position < end:
            if handle is None:
                handle = await run_in_threadpool(_open, arrival)
            known = arrival.size if arrival.verified else arrival.size - 1
            piece = b""
            if handle is not None:
                wanted = min(_PIECE_BYTES, min(end, known) - position)
                piece = await run_in_threadpool(os.pread, handle, max(wanted, 0), position)
            if piece:
                yield piece
                position += len(piece)
                patience = loop.time() + IDLE_SECONDS
            elif arrival.stored:
                rest = source.read(start=position, length=end - position)
                async for chunk in iterate_in_threadpool(rest):
                    yield chunk
                return
            elif arrival.problem is not None:
                raise UpstreamError(arrival.problem)
            elif loop.time() > patience:
                raise UpstreamError("The file does not come any further.")
            else:
                await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        if handle is not None:
            os.close(handle)


def _open(arrival: Arrival) -> int | None:
    try:
        return os.open(arrival.path, os.O_RDONLY)
    except FileNotFoundError:
        return None
