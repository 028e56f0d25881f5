"""Tokens for programs: by a code that somebody approves, by renewal, in exchange for another's."""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from fin_qlora_hub.access.identity import digest_of
from fin_qlora_hub.errors import InvalidTokenError, OAuthError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.outgoing import ForbiddenAddressError, OutgoingError
from fin_qlora_hub.routes.dependencies import COUNTED, CurrentHub, PublicUrl, in_writer
from fin_qlora_hub.routes.limits import address_of, limits_of, network_of
from fin_qlora_hub.routes.problems import problem
from fin_qlora_hub.signing_in import device_flow, exchanging, sign_ins
from fin_qlora_hub.signing_in.attempts import Attempts, Pace
from fin_qlora_hub.signing_in.trusted import Trusted
from fin_qlora_hub.text import quoted

router = APIRouter(dependencies=COUNTED)

MAX_BYTES = 64 * 1024
MAX_FIELDS = 20
MAX_CLIENT_ID = 100
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_RENEWAL = "refresh_token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_logger = logging.getLogger("fin_qlora_hub")
_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_asking = Attempts(30, seconds=300)
_pace = Pace()
_Answer = TypeVar("_Answer")
# Threads that may wait for issuers: one that hangs keeps none of those who ask for something else.
AT_ISSUERS = 4


@router.post("/oauth/device")
async def begin_sign_in(request: Request, hub: CurrentHub, public_url: PublicUrl) -> JSONResponse:
    """Give a program two codes: one to keep, one to show to its user."""
    address = address_of(request)
    if not _asking.spend(network_of(request)):
        return problem(
            429,
            "TooManyRequests",
            "Too many programs have asked for a code from this address: wait some minutes.",
            headers={"Retry-After": "60", **_NOT_KEPT},
            body={"error": "slow_down"},
        )
    try:
        client_id = _client_id(await read_fields(request))
        agent = request.headers.get("user-agent", "")

        def ask() -> device_flow.Begun:
            with hub.database.writing() as session:
                return device_flow.ask(session, client_id=client_id, address=address, agent=agent)

        begun = await in_writer(hub, ask)
    except OAuthError as error:
        return _refused(error)
    page = f"{public_url}/oauth/device"
    return JSONResponse(
        {
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={begun.user_code}",
            "expires_in": begun.seconds,
            "interval": device_flow.INTERVAL_SECONDS,
        },
        headers=_NOT_KEPT,
    )


@router.post("/oauth/token")
async def give_token(request: Request, hub: CurrentHub) -> JSONResponse:
    """Give a program a token for what it has: an approved code, or a refresh token."""
    try:
        fields = await read_fields(request)
        match fields.get("grant_type"):
            case str(kind) if kind == _DEVICE:
                issued = await _by_code(hub, fields)
            case str(kind) if kind == _RENEWAL:
                issued = await _by_renewal(hub, fields)
            case str(kind) if kind == _EXCHANGE:
                return await _by_exchange(request, hub, fields)
            case other:
                raise OAuthError(
                    "unsupported_grant_type", f"grant_type {quoted(str(other))} is not known here."
                )
    except OAuthError as error:
        if error.code == "invalid_grant":
            limits_of(request).fail(request)
        return _refused(error)
    limits_of(request).trust(digest_of(issued.access_token))
    return JSONResponse(
        {
            "access_token": issued.access_token,
            "token_type": "bearer",
            "expires_in": issued.seconds,
            "refresh_token": issued.refresh_token,
        },
        headers=_NOT_KEPT,
    )


async def _by_code(hub: Hub, fields: dict[str, str]) -> sign_ins.Issued:
    code, client_id = _required(fields, "device_code"), _client_id(fields)
    if not _pace.keeps(digest_of(code), interval=device_flow.INTERVAL_SECONDS):
        raise OAuthError("slow_down", "Ask less often: wait five seconds longer than until now.")

    def look() -> None:
        with hub.database.reading() as session:
            device_flow.require_answer(session, code, client_id=client_id)

    def redeem() -> sign_ins.Issued:
        hours = hub.settings.access_token_hours
        with hub.database.writing() as session:
            return device_flow.redeem(session, code, client_id=client_id, hours=hours)

    await run_in_threadpool(look)  # most come too early, and need not wait for those who write
    return await in_writer(hub, redeem)


async def _by_renewal(hub: Hub, fields: dict[str, str]) -> sign_ins.Issued:
    secret, client_id = _required(fields, "refresh_token"), _client_id(fields)

    def renew() -> sign_ins.Issued | None:
        hours = hub.settings.access_token_hours
        with hub.database.writing() as session:
            return sign_ins.renew(session, secret, client_id=client_id, hours=hours)

    issued = await in_writer(hub, renew)
    if issued is None:
        raise OAuthError(
            "invalid_grant",
            "This refresh token was used before, so somebody else may have it: the sign-in has "
            "been ended. Run `hf auth login` again.",
        )
    return issued


async def _by_exchange(request: Request, hub: Hub, fields: dict[str, str]) -> JSONResponse:
    subject, resource = _required(fields, "subject_token"), _required(fields, "resource")
    if fields.get("subject_token_type") != _ID_TOKEN:
        raise OAuthError("invalid_request", f"subject_token_type must be {_ID_TOKEN}.")
    try:
        jobs, claims = await ask_issuer(request, partial(trusted_of(request).verify_job, subject))
    except InvalidTokenError as error:
        raise OAuthError("invalid_grant", str(error)) from error
    except (OutgoingError, ForbiddenAddressError) as error:
        _logger.error("the keys of an issuer cannot be had: %s", error)
        raise OAuthError(
            "temporarily_unavailable", "The keys of the issuer cannot be had at the moment."
        ) from error

    def exchange() -> tuple[str, int]:
        with hub.database.writing() as session:
            return exchanging.exchange(session, jobs, claims, resource=resource)

    secret, seconds = await in_writer(hub, exchange)
    limits_of(request).trust(digest_of(secret))
    return JSONResponse(
        {
            "access_token": secret,
            "issued_token_type": _ACCESS_TOKEN,
            "token_type": "bearer",
            "expires_in": seconds,
        },
        headers=_NOT_KEPT,
    )


async def ask_issuer(request: Request, work: Callable[[], _Answer]) -> _Answer:
    """Do some work for which an issuer may have to be asked, in one of few threads."""
    free = request.app.state.at_issuers
    assert isinstance(free, asyncio.Semaphore)
    async with free:
        return await run_in_threadpool(work)


def trusted_of(request: Request) -> Trusted:
    """Return whom the hub believes."""
    trusted = request.app.state.trusted
    assert isinstance(trusted, Trusted)
    return trusted


async def read_fields(request: Request) -> dict[str, str]:
    """Read a form or a JSON object of text; nothing may stand there twice; raises OAuthError."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BYTES:
            raise OAuthError("invalid_request", "The request is too large.")
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            pairs = json.loads(body, object_pairs_hook=list)
        else:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        fields = _unique(pairs)
    except (ValueError, TypeError, RecursionError) as error:
        raise OAuthError(
            "invalid_request", "The request must be a form, or a JSON object of plain text."
        ) from error
    return fields


def _unique(pairs: Any) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields or not isinstance(value, str) or "\0" in value:
            raise ValueError(name)
        value.encode()  # refuses halves of characters
        fields[name] = value
    return fields


def _required(fields: dict[str, str], name: str) -> str:
    value = fields.get(name, "")
    if not value:
        raise OAuthError("invalid_request", f"{name} is missing.")
    return value


def _client_id(fields: dict[str, str]) -> str:
    value = _required(fields, "client_id")
    if len(value) > MAX_CLIENT_ID or not value.isascii() or not value.isprintable():
        raise OAuthError("invalid_client", "client_id is not one.")
    return value


def _refused(error: OAuthError) -> JSONResponse:
    return problem(
        400,
        error.code,
        str(error),
        headers=_NOT_KEPT,
        body={"error": error.code, "error_description": str(error)},
    )
