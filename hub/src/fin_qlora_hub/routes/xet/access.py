"""What the routes of Xet share: who holds a Xet token, which hash is meant, what must be kept."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from pydantic import StringConstraints
from starlette.concurrency import run_in_threadpool

from fin_qlora_hub.errors import InvalidTokenError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.routes.dependencies import CurrentHub, PublicUrl, in_writer, upload_slots
from fin_qlora_hub.xet.access import Access
from fin_qlora_hub.xet.ownership import is_due, touch

Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


async def _access(request: Request, hub: CurrentHub) -> Access:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidTokenError("A Xet token is needed.")
    return Access.open(hub.signer, token.strip())


Holder = Annotated[Access, Depends(_access)]


async def _upload_slot(request: Request, access: Holder) -> AsyncIterator[None]:
    async with upload_slots(request).one(access.user_id):
        yield


UploadSlot = Annotated[None, Depends(_upload_slot)]


async def _cas_url(public_url: PublicUrl, place: str) -> str:
    return f"{public_url}/xet/{place}"


CasUrl = Annotated[str, Depends(_cas_url)]


async def touched(hub: Hub, access: Access, xorbs: list[str]) -> bool:
    """Keep xorbs from being collected; False where one has been meanwhile."""

    def is_any_due() -> bool:
        with hub.database.reading() as session:
            return any(is_due(session, access.namespace_id, xorb) for xorb in xorbs)

    def note() -> bool:
        with hub.database.writing() as session:
            return touch(session, access.namespace_id, xorbs)

    return not await run_in_threadpool(is_any_due) or await in_writer(hub, note)
