"""Xorbs, taken in the request itself or at an address that was given out before."""

import asyncio
import secrets
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from fin_qlora_hub.care.collecting import GRACE
from fin_qlora_hub.contents.reserving import reserve_room
from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError, NotFoundError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.quotas import reserve, xorb_to_come
from fin_qlora_hub.routes.dependencies import CurrentHub, in_writer, upload_slots
from fin_qlora_hub.routes.receiving import receive
from fin_qlora_hub.routes.xet.access import CasUrl, Hash, Holder, UploadSlot, touched
from fin_qlora_hub.xet.access import Access, Scope, require
from fin_qlora_hub.xet.ownership import keep_xorb, still_there
from fin_qlora_hub.xet.store import StagedXorb
from fin_qlora_hub.xet.xorbs import MAX_BODY_BYTES

router = APIRouter()

GRANT_SECONDS = 60 * 60
_GRANT = "xorb-grant"


class WantedGrant(BaseModel):
    """The size of a xorb that a client wants to send."""

    length: Annotated[int, Field(gt=0, le=MAX_BODY_BYTES)]


@router.post("/xet/{place}/v1/xorb-grants/{prefix}/{xorb}")
async def grant_xorb(
    body: WantedGrant, xorb: Hash, hub: CurrentHub, access: Holder, url: CasUrl
) -> JSONResponse:
    """Say where to send a xorb, or that this namespace sent it before."""
    is_owned = await run_in_threadpool(_is_owned, hub, access, xorb)
    if is_owned and await touched(hub, access, [xorb]):
        return JSONResponse({})
    await run_in_threadpool(hub.blobs.require_space, body.length)
    await _reserve(hub, access, xorb, body.length)
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
    xorb: Hash, grant: str, request: Request, hub: CurrentHub
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
    access = Access.of(claims)
    async with upload_slots(request).one(access.user_id):
        inserted = await _receive_xorb(request, hub, access, xorb)
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
    announced = request.headers.get("content-length", "")
    await _reserve(hub, access, xorb, int(announced) if announced.isdecimal() else MAX_BODY_BYTES)
    return JSONResponse({"was_inserted": await _receive_xorb(request, hub, access, xorb)})


def _is_owned(hub: Hub, access: Access, xorb: str) -> bool:
    with hub.database.reading() as session:
        require(session, access, scope=Scope.WRITE)
        return bool(still_there(session, hub.xorbs, access.namespace_id, [xorb]))


async def _reserve(hub: Hub, access: Access, xorb: str, size: int) -> None:
    room = {xorb_to_come(xorb): size}
    keep = partial(reserve_room, hub.database, access.namespace_id, room, seconds=GRANT_SECONDS)
    await in_writer(hub, keep)


async def _receive_xorb(request: Request, hub: Hub, access: Access, xorb: str) -> bool:
    def keep(staged: StagedXorb) -> bool:
        with hub.database.writing() as session:
            require(session, access, scope=Scope.WRITE)
            new = keep_xorb(session, hub.xorbs, staged, namespace_id=access.namespace_id)
            if new:  # until a file uses it, or it is collected
                room = {xorb_to_come(xorb): staged.size}
                reserve(session, access.namespace_id, room, lasting=GRACE)
            return new

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
