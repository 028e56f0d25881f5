"""Small answers that clients rely on."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fin_qlora_hub.cards.card import CardError, find_faults, parse_metadata
from fin_qlora_hub.routes.dependencies import AnyCaller, CurrentHub

router = APIRouter()


class CardText(BaseModel):
    """A README to be checked."""

    model_config = ConfigDict(extra="ignore")

    content: str


@router.post("/api/validate-yaml")
def validate_card(
    body: CardText,
    request: Request,
    hub: CurrentHub,
    caller: AnyCaller,
) -> Response:
    """Check the metadata at the head of a README; clients ask before each commit of one."""
    if caller is None and not hub.settings.anonymous_read:
        # Stock clients check a card without their token too: no work for who may read nothing.
        unchecked = "The card was not checked: this hub does so for its users alone."
        return JSONResponse({"errors": [], "warnings": [{"message": unchecked}]})
    metadata = {}
    try:
        metadata = parse_metadata(body.content)
        faults = find_faults(metadata)
    except CardError as error:
        faults = [str(error)]
    if faults and request.headers.get("accept") == "text/plain":  # as `ModelCard.validate` asks
        lines = "".join(f"- Error: {fault}\n" for fault in faults)
        return PlainTextResponse(lines, 400, headers={"X-Error-Code": "BadRequest"})
    if faults:
        return JSONResponse(
            {
                "error": "; ".join(faults),
                "errors": [{"message": fault} for fault in faults],
                "warnings": [],
            },
            status_code=400,
            headers={"X-Error-Code": "BadRequest"},
        )
    warnings = [] if metadata else [{"message": "The card has no metadata at its head."}]
    return JSONResponse({"errors": [], "warnings": warnings})


@router.get("/api/agent-harnesses")
async def list_agent_harnesses() -> JSONResponse:
    """Say that there are none; without an answer every client process would ask again."""
    return JSONResponse({}, headers={"Cache-Control": "public, max-age=86400"})


@router.head("/api/telemetry/{topic:path}")
async def take_telemetry() -> Response:
    """Accept and forget."""
    return Response(status_code=204)


@router.post("/v1/telemetry")
async def ignore_transfer_telemetry() -> JSONResponse:
    """Accept and forget what clients tell about themselves."""
    return JSONResponse({})


@router.get("/healthz")
async def show_health() -> JSONResponse:
    """Say that the process answers."""
    return JSONResponse({"status": "ok"})
