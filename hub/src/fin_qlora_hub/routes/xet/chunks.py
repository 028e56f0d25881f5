"""Chunks that need not be sent, since the namespace holds them."""

import secrets
import time

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fin_qlora_hub.errors import NotFoundError
from fin_qlora_hub.routes.dependencies import CurrentHub
from fin_qlora_hub.routes.xet.access import Hash, Holder, touched
from fin_qlora_hub.xet.access import Scope, require
from fin_qlora_hub.xet.files import xorbs_after_chunk
from fin_qlora_hub.xet.shards import dedup_answer
from fin_qlora_hub.xet.xorbs import XorbIndex

router = APIRouter()

# How long clients may use a dedup answer; collection waits much longer.
ANSWER_SECONDS = 7 * 24 * 3600
# Enough for 5 GB; a client asks again for what follows.
MAX_ANSWER_BYTES = 4 * 1024 * 1024


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
    if found is None or not await touched(hub, access, found[0]):
        raise NotFoundError("No file of this namespace is known to hold this chunk.")
    _, answer = found
    return Response(answer, media_type="application/octet-stream")
