"""Where the chunks of a file lie, with an address for each run of them."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from fin_qlora_hub.audit.record import place_of
from fin_qlora_hub.errors import NotFoundError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.routes.dependencies import CurrentHub
from fin_qlora_hub.routes.problems import problem
from fin_qlora_hub.routes.ranges import UnsatisfiableRangeError, asked_range
from fin_qlora_hub.routes.xet.access import CasUrl, Hash, Holder
from fin_qlora_hub.routes.xet.parts import data_url
from fin_qlora_hub.xet.access import Access, Scope, require
from fin_qlora_hub.xet.files import ChunkedFile, find_file
from fin_qlora_hub.xet.reconstruction import Reconstruction, plan

router = APIRouter()


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
                "url": data_url(hub, url, xorb, run),
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
                "url": data_url(hub, url, xorb, run),
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
        place = place_of(require(session, access, scope=Scope.READ))
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
    hub.recorder.read(place, file_hash, way="chunks", user_id=access.user_id)
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
