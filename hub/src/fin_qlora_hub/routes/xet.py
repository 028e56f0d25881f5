"""Xet: the chunk store that hf_xet talks to, with tokens of its own."""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field, StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from fin_qlora_hub.errors import (
    ForbiddenError,
    HubError,
    InvalidTokenError,
    NotFoundError,
    OperationalError,
)
from fin_qlora_hub.gating import require_download
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.references import resolve
from fin_qlora_hub.repositories import open_readable, open_writable
from fin_qlora_hub.routes.dependencies import (
    CurrentCaller,
    CurrentHub,
    PublicUrl,
    Segment,
    Target,
    UploadSlot,
    in_writer,
)
from fin_qlora_hub.routes.problems import problem
from fin_qlora_hub.routes.ranges import UnsatisfiableRangeError, asked_range
from fin_qlora_hub.routes.receiving import receive
from fin_qlora_hub.xet.access import STRANGER, Access, Scope, generation, require
from fin_qlora_hub.xet.files import ChunkedFile, find_file, xorbs_after_chunk
from fin_qlora_hub.xet.ownership import is_due, keep_xorb, still_there, stored_xorbs, touch
from fin_qlora_hub.xet.reconstruction import Reconstruction, Run, plan
from fin_qlora_hub.xet.registering import Progress, register_shard
from fin_qlora_hub.xet.shards import MAX_BYTES, dedup_answer
from fin_qlora_hub.xet.store import StagedXorb
from fin_qlora_hub.xet.xorbs import MAX_BODY_BYTES, XorbIndex

router = APIRouter()

URL_SECONDS = 15 * 60
GRANT_SECONDS = 60 * 60
# How long clients may use a dedup answer; collection waits much longer.
ANSWER_SECONDS = 7 * 24 * 3600
# Enough for 5 GB; a client asks again for what follows.
MAX_ANSWER_BYTES = 4 * 1024 * 1024
FRAME_SECONDS = 5.0
_GRANT, _DATA = "xorb-grant", "xorb-data"


_logger = logging.getLogger("fin_qlora_hub")

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


async def _access(request: Request, hub: CurrentHub) -> Access:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError("A Xet token is needed.")
    return Access.open(hub.signer, token.strip())


Holder = Annotated[Access, Depends(_access)]


async def _cas_url(public_url: PublicUrl, place: str) -> str:
    return f"{public_url}/xet/{place}"


CasUrl = Annotated[str, Depends(_cas_url)]


# ------------------------------------------------------------------------------------------ tokens


@router.get("/api/{kinds}/{namespace}/{name}/xet-read-token/{revision}")
def give_read_token(
    target: Target,
    revision: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
) -> JSONResponse:
    """Let a client fetch the chunks of a repository's files."""
    with hub.database.reading() as session:
        repository = open_readable(session, target, caller)
        require_download(session, repository, caller)
        resolve(session, repository, revision)
        user = STRANGER if caller is None else caller.user_id
        access = Access(repository.id, repository.namespace_id, user, Scope.READ)
        place = f"{generation(session)}-{repository.namespace.name}"
    return _token(hub, access, url=f"{public_url}/xet/{place}")


@router.get("/api/{kinds}/{namespace}/{name}/xet-write-token/{revision}")
def give_write_token(
    target: Target,
    revision: Segment,
    hub: CurrentHub,
    caller: CurrentCaller,
    public_url: PublicUrl,
) -> JSONResponse:
    """Let a client send chunks for a repository."""
    with hub.database.reading() as session:
        repository = open_writable(session, target, caller)
        if revision != "None":
            resolve(session, repository, revision)
        assert caller is not None
        access = Access(repository.id, repository.namespace_id, caller.user_id, Scope.WRITE)
        place = f"{generation(session)}-{repository.namespace.name}"
    return _token(hub, access, url=f"{public_url}/xet/{place}")


def _token(hub: Hub, access: Access, *, url: str) -> JSONResponse:
    # Clients remember what they sent to an address: each namespace has its own, since what one
    # sent is not there for another, and so has each stock of xorbs.
    token, end = access.seal(hub.signer)
    return JSONResponse(
        {"accessToken": token, "exp": end, "casUrl": url},
        headers={
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(end),
            "X-Xet-Cas-Url": url,
            "Cache-Control": "no-store",
        },
    )


# ------------------------------------------------------------------------------------------- xorbs


class WantedGrant(BaseModel):
    """The size of a xorb that a client wants to send."""

    length: Annotated[int, Field(gt=0, le=MAX_BODY_BYTES)]


@router.post("/xet/{place}/v1/xorb-grants/{prefix}/{xorb}")
async def grant_xorb(
    body: WantedGrant, xorb: Hash, hub: CurrentHub, access: Holder, url: CasUrl
) -> JSONResponse:
    """Say where to send a xorb, or that this namespace sent it before."""
    is_owned = await run_in_threadpool(_is_owned, hub, access, xorb)
    if is_owned and await _touched(hub, access, [xorb]):
        return JSONResponse({})
    await run_in_threadpool(hub.blobs.require_space, body.length)
    name = secrets.token_hex(8)
    claims = {
        **access.claims(),
        "xorb": xorb,
        "length": body.length,
    }
    sealed, _ = hub.signer.seal(_GRANT, claims, seconds=GRANT_SECONDS)
    return JSONResponse(
        {
            "id": name,
            "method": "PUT",
            "url": f"{url}/xorb-data/{xorb}?grant={sealed}",
            "headers": {},
        },
        status_code=201,
    )


@router.put("/xet/{place}/xorb-data/{xorb}")
async def take_granted_xorb(
    xorb: Hash, grant: str, request: Request, hub: CurrentHub, slot: UploadSlot
) -> JSONResponse:
    """Take a xorb to an address that was given out for it."""
    try:
        claims = hub.signer.open(_GRANT, grant)
    except InvalidTokenError as error:
        raise ForbiddenError(str(error)) from None  # clients then ask for another grant
    if claims["xorb"] != xorb:
        raise ForbiddenError("The address was given out for another xorb.")
    announced = request.headers.get("content-length", str(claims["length"]))
    if announced != str(claims["length"]):
        raise ForbiddenError("The address was given out for another length.")
    inserted = await _receive_xorb(request, hub, Access.of(claims), xorb)
    return JSONResponse({"was_inserted": inserted})


@router.post("/xet/{place}/v1/xorb-commits/{prefix}/{xorb}/grant/{name}")
def confirm_xorb(xorb: Hash, hub: CurrentHub, access: Holder) -> JSONResponse:
    """Say whether a granted xorb has arrived."""
    if not _is_owned(hub, access, xorb):
        raise NotFoundError("The xorb has not arrived: ask for another grant.")
    return JSONResponse({"was_inserted": True})


@router.post("/xet/{place}/xorbs/{prefix}/{xorb}")
@router.post("/xet/{place}/v1/xorbs/{prefix}/{xorb}")
async def take_xorb(
    xorb: Hash, request: Request, hub: CurrentHub, access: Holder, slot: UploadSlot
) -> JSONResponse:
    """Take a xorb in the request itself."""
    return JSONResponse({"was_inserted": await _receive_xorb(request, hub, access, xorb)})


def _is_owned(hub: Hub, access: Access, xorb: str) -> bool:
    with hub.database.reading() as session:
        require(session, access, scope=Scope.WRITE)
        return bool(still_there(session, hub.xorbs, access.namespace_id, [xorb]))


async def _touched(hub: Hub, access: Access, xorbs: list[str]) -> bool:
    """Keep xorbs from being collected; False where one has been meanwhile."""

    def is_any_due() -> bool:
        with hub.database.reading() as session:
            return any(is_due(session, access.namespace_id, xorb) for xorb in xorbs)

    def note() -> bool:
        with hub.database.writing() as session:
            return touch(session, access.namespace_id, xorbs)

    return not await run_in_threadpool(is_any_due) or await in_writer(hub, note)


async def _receive_xorb(request: Request, hub: Hub, access: Access, xorb: str) -> bool:
    def keep(staged: StagedXorb) -> bool:
        with hub.database.writing() as session:
            require(session, access, scope=Scope.WRITE)
            return keep_xorb(session, hub.xorbs, staged, namespace_id=access.namespace_id)

    await run_in_threadpool(_is_owned, hub, access, xorb)  # refuses before any byte is read
    writer = await run_in_threadpool(hub.xorbs.writer)
    try:
        await receive(request, writer.write, executor=hub.receivers)
        loop = asyncio.get_running_loop()
        finish = partial(writer.finish, expected=xorb)
        staged = await loop.run_in_executor(hub.receivers, finish)
        return await in_writer(hub, partial(keep, staged))
    finally:
        await run_in_threadpool(writer.discard)


# ------------------------------------------------------------------------------------------ shards


@router.post("/xet/{place}/shards")
@router.post("/xet/{place}/v1/shards")
async def take_shard(
    request: Request, hub: CurrentHub, access: Holder, slot: UploadSlot
) -> JSONResponse:
    """Register the files of a shard; 1 says that some were new, 0 that all were known."""
    async with await _Shard.receive(request, hub, access) as shard:
        work = partial(_register, hub, access, shard.path)
        new = await asyncio.get_running_loop().run_in_executor(hub.verifiers, work)
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
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            hub.verifiers, partial(_register, hub, access, shard.path, note)
        )
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


# -------------------------------------------------------------------------------------- downloads


@router.get("/xet/{place}/v1/chunks/{prefix}/{chunk}")
@router.get("/xet/{place}/chunks/{prefix}/{chunk}")
async def find_chunk(chunk: Hash, hub: CurrentHub, access: Holder) -> Response:
    """Tell a client which chunks need not be sent, if this namespace holds the one it asks for."""

    def search() -> tuple[list[str], bytes] | None:
        with hub.database.reading() as session:
            require(session, access, scope=Scope.WRITE)
            found = xorbs_after_chunk(session, hub.xorbs, access.namespace_id, chunk)
        if not found:
            return None
        shown: list[tuple[str, XorbIndex]] = []
        size = 0
        for xorb in found:
            index = hub.xorbs.index(xorb)
            size += 48 * (1 + len(index))
            if shown and size > MAX_ANSWER_BYTES:
                break
            shown.append((xorb.hash, index))
        now = int(time.time())
        end = now + ANSWER_SECONDS
        answer = dedup_answer(shown, key=secrets.token_bytes(32), created=now, expires=end)
        return [name for name, _ in shown], answer

    found = await run_in_threadpool(search)
    if found is None or not await _touched(hub, access, found[0]):
        raise NotFoundError("No file of this namespace is known to hold this chunk.")
    _, answer = found
    return Response(answer, media_type="application/octet-stream")


@router.get("/xet/{place}/v1/reconstructions/{file}")
@router.get("/xet/{place}/reconstructions/{file}")
def locate_file(
    file: Hash, request: Request, hub: CurrentHub, access: Holder, url: CasUrl
) -> JSONResponse:
    """Say where the chunks of a file lie, in the older form."""
    found = _located(file, request, hub, access)
    if isinstance(found, JSONResponse):
        return found
    fetch = {
        xorb: [
            {
                "range": {"start": run.chunk_start, "end": run.chunk_end},
                "url": _data_url(hub, url, xorb, run),
                "url_range": {"start": run.byte_start, "end": run.byte_end - 1},
            }
            for run in runs
        ]
        for xorb, runs in found.runs.items()
    }
    return JSONResponse(
        {"offset_into_first_range": found.skipped, "terms": _terms(found), "fetch_info": fetch}
    )


@router.get("/xet/{place}/v2/reconstructions/{file}")
def locate_file_in_ranges(
    file: Hash, request: Request, hub: CurrentHub, access: Holder, url: CasUrl
) -> JSONResponse:
    """Say where the chunks of a file lie."""
    found = _located(file, request, hub, access)
    if isinstance(found, JSONResponse):
        return found
    xorbs = {
        xorb: [
            {
                "url": _data_url(hub, url, xorb, run),
                "ranges": [
                    {
                        "chunks": {"start": run.chunk_start, "end": run.chunk_end},
                        "bytes": {"start": run.byte_start, "end": run.byte_end - 1},
                    }
                ],
            }
            for run in runs
        ]
        for xorb, runs in found.runs.items()
    }
    return JSONResponse(
        {"offset_into_first_range": found.skipped, "terms": _terms(found), "xorbs": xorbs}
    )


def _located(
    file_hash: str, request: Request, hub: Hub, access: Access
) -> Reconstruction | JSONResponse:
    with hub.database.reading() as session:
        require(session, access, scope=Scope.READ)
        found: ChunkedFile | None = find_file(session, access.repository_id, file_hash=file_hash)
    if found is None:
        raise NotFoundError("This repository has no such file.")
    try:
        start, end = asked_range(request, size=found.size) or (0, found.size)
    except UnsatisfiableRangeError:
        return problem(
            416,
            "RangeNotSatisfiable",
            f"The file has {found.size} bytes: the asked range lies outside.",
            headers={"Content-Range": f"bytes */{found.size}"},
        )
    return plan(found, hub.xorbs, start=start, end=end)


def _terms(found: Reconstruction) -> list[dict[str, Any]]:
    return [
        {
            "hash": term.xorb,
            "unpacked_length": term.size,
            "range": {"start": term.start, "end": term.end},
        }
        for term in found.terms
    ]


def _data_url(hub: Hub, url: str, xorb: str, run: Run) -> str:
    claims = {"xorb": xorb, "start": run.byte_start, "end": run.byte_end, "made": run.made}
    sealed, _ = hub.signer.seal(_DATA, claims, seconds=URL_SECONDS)
    return f"{url}/xorb-data/{xorb}?part={sealed}"


@router.get("/xet/{place}/xorb-data/{xorb}")
def send_part(xorb: Hash, part: str, request: Request, hub: CurrentHub) -> Response:
    """Send the very bytes of a xorb that an address was signed for, and no others."""
    try:
        claims = hub.signer.open(_DATA, part)
    except InvalidTokenError as error:
        raise ForbiddenError(str(error)) from None  # clients then ask for another address
    if claims["xorb"] != xorb:
        raise ForbiddenError("The address was signed for another xorb.")
    with hub.database.reading() as session:
        stored = stored_xorbs(session, [xorb]).get(xorb)
    if stored is None:
        raise NotFoundError("The xorb is gone.")
    if claims.get("made") != stored.made:
        raise ForbiddenError("The xorb was packed anew: ask for another address.")
    start, end = claims["start"], claims["end"]
    try:
        asked = asked_range(request, size=stored.size)
    except UnsatisfiableRangeError:
        asked = None
    if asked != (start, end):
        raise ForbiddenError(f"The address is good for the range bytes={start}-{end - 1} alone.")
    return StreamingResponse(
        hub.xorbs.read(xorb, start=start, length=end - start),
        status_code=206,
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(end - start),
            "Content-Range": f"bytes {start}-{end - 1}/{stored.size}",
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=900, immutable",
        },
    )


@router.post("/v1/telemetry")
async def ignore_telemetry() -> JSONResponse:
    """Accept and forget what clients tell about themselves."""
    return JSONResponse({})
