"""The way to the institution's own sign-on, and back."""

import hmac
import logging
import secrets
from functools import partial
from html import escape
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.outgoing import ForbiddenAddressError, OutgoingError
from fin_qlora_hub.routes.approval import signed_in
from fin_qlora_hub.routes.dependencies import COUNTED, CurrentHub, PublicUrl, in_writer
from fin_qlora_hub.routes.documents import document
from fin_qlora_hub.routes.oauth import ask_issuer, trusted_of
from fin_qlora_hub.routes.visiting import BROWSER, SIGN_ON, browser_of, forget, keep, kept
from fin_qlora_hub.signing_in.provider import Provider
from fin_qlora_hub.signing_in.signing_on import admit
from fin_qlora_hub.signing_in.visits import Visit
from fin_qlora_hub.text import Text

router = APIRouter(dependencies=COUNTED)

SECONDS = 10 * 60
_PURPOSE = "sign-on"
_logger = logging.getLogger("fin_qlora_hub")


@router.get("/oauth/sign-on")
async def send_away(
    request: Request,
    hub: CurrentHub,
    public_url: PublicUrl,
    user_code: Annotated[Text, Query(max_length=40)] = "",
) -> Response:
    """Send a browser to the provider."""
    provider = _provider(request)
    browser = browser_of(request, public_url) or secrets.token_urlsafe(16)
    try:
        begun = await ask_issuer(request, partial(provider.begin, redirect_uri=_back(public_url)))
    except (OutgoingError, ForbiddenAddressError) as error:
        return _unreachable(error)
    told = {
        "state": begun.state,
        "nonce": begun.nonce,
        "verifier": begun.verifier,
        "browser": browser,
        "user_code": user_code,
    }
    answer = RedirectResponse(begun.url, status_code=303, headers={"Cache-Control": "no-store"})
    note, _ = hub.signer.seal(_PURPOSE, told, seconds=SECONDS)
    keep(answer, SIGN_ON, note, public_url=public_url)
    keep(answer, BROWSER, browser, public_url=public_url)
    return answer


@router.get("/oauth/callback")
async def take_back(
    request: Request,
    hub: CurrentHub,
    public_url: PublicUrl,
    code: Annotated[Text, Query(max_length=4096)] = "",
    state: Annotated[Text, Query(max_length=200)] = "",
    iss: Annotated[Text | None, Query(max_length=255)] = None,
) -> Response:
    """Take a browser back, with what the provider says of who sits at it."""
    provider = _provider(request)
    try:
        told = hub.signer.open(_PURPOSE, kept(request, SIGN_ON, public_url))
    except (InvalidTokenError, ForbiddenError):
        return _failed("It took too long, or began in another browser.")
    same = hmac.compare_digest(told["state"].encode(), state.encode())
    if not same or told["browser"] != browser_of(request, public_url):
        return _failed("It took too long, or began in another browser.")
    if not code or iss not in (None, provider.sign_on.issuer):
        return _failed("Your institution did not sign you on.")
    try:
        visit = await _visit(request, hub, code, told, back=_back(public_url))
    except (OutgoingError, ForbiddenAddressError) as error:
        return _unreachable(error)
    except InvalidTokenError as error:
        _logger.warning("a sign-on failed: %s", error)
        return _failed("What your institution said does not count.")
    except ForbiddenError as error:
        return _failed(str(error))
    answer = signed_in(visit, hub, told["user_code"], public_url=public_url)
    forget(answer, SIGN_ON, public_url=public_url)
    return answer


async def _visit(
    request: Request, hub: Hub, code: str, told: dict[str, str], *, back: str
) -> Visit:
    provider = _provider(request)
    finish = partial(provider.finish, code, redirect_uri=back)
    claims = await ask_issuer(
        request, partial(finish, verifier=told["verifier"], nonce=told["nonce"])
    )

    def let_in() -> int:
        with hub.database.writing() as session:
            return admit(session, provider.sign_on, claims).id

    return Visit(await in_writer(hub, let_in), 0, told["browser"])


def _provider(request: Request) -> Provider:
    provider = trusted_of(request).provider
    if provider is None:
        raise HTTPException(404)
    return provider


def _back(public_url: str) -> str:
    return f"{public_url}/oauth/callback"


def _failed(reason: str) -> Response:
    body = f'<p>{escape(reason)} <a href="device">Begin again</a>.</p>'
    return document("You are not signed on", body, status=403)


def _unreachable(error: Exception) -> Response:
    _logger.error("the provider of the sign-on: %s", error)
    body = "<p>Your institution's sign-on cannot be reached. Try again in a moment.</p>"
    return document("Not now", body, status=503)
