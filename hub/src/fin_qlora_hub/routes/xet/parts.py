"""Parts of xorbs, each at an address that was signed for it."""

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError, NotFoundError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.routes.dependencies import CurrentHub
from fin_qlora_hub.routes.ranges import UnsatisfiableRangeError, asked_range
from fin_qlora_hub.routes.xet.access import Hash
from fin_qlora_hub.xet.ownership import stored_xorbs
from fin_qlora_hub.xet.reconstruction import Run

router = APIRouter()

URL_SECONDS = 15 * 60
_DATA = "xorb-data"


def data_url(hub: Hub, url: str, xorb: str, run: Run) -> str:
    """Return an address that is good for a run of chunks, for a while.

    It lies under `url`, or in the object store where clients fetch from there.
    """
    if hub.direct is not None:
        return hub.direct.xorb_url(xorb, run.made, start=run.byte_start, end=run.byte_end)
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
        hub.xorbs.read(stored, start=start, length=end - start),
        status_code=206,
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(end - start),
            "Content-Range": f"bytes {start}-{end - 1}/{stored.size}",
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=900, immutable",
        },
    )
