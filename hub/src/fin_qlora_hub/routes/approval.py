"""The pages on which people let a program act as them, after they have said who they are."""

import secrets
from datetime import UTC, datetime
from html import escape
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fin_qlora_hub.access.identity import Role, TokenKind, authenticate
from fin_qlora_hub.audit.acting import identify
from fin_qlora_hub.errors import InvalidTokenError, NotFoundError, OAuthError
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.tables import DeviceRequest
from fin_qlora_hub.routes.dependencies import COUNTED, CurrentHub, PublicUrl, in_writer
from fin_qlora_hub.routes.documents import document, facts, hidden
from fin_qlora_hub.routes.limits import network_of
from fin_qlora_hub.routes.oauth import read_fields, trusted_of
from fin_qlora_hub.routes.visiting import BROWSER, VISIT, browser_of, forget, keep, visit_of
from fin_qlora_hub.signing_in import device_flow
from fin_qlora_hub.signing_in.attempts import Attempts
from fin_qlora_hub.signing_in.visits import Visit, Visitor, is_own_form, seal_form, visitor
from fin_qlora_hub.text import Text

router = APIRouter(dependencies=COUNTED)

_PROGRAMS = {"26be6b09-91c5-47da-9861-d2d2bb7a7e36": "the Hugging Face client (hf auth login)"}
_guesses = Attempts(10, seconds=600)
_sign_ins = Attempts(20, seconds=300)


@router.get("/oauth/device")
async def show_code_page(
    request: Request,
    hub: CurrentHub,
    public_url: PublicUrl,
    user_code: Annotated[Text, Query(max_length=40)] = "",
) -> Response:
    """Ask who somebody is, then for the code, then whether they began that themselves."""
    browser = browser_of(request, public_url) or secrets.token_urlsafe(16)
    visit = visit_of(request, hub, public_url)
    sign_on = trusted_of(request).provider is not None
    page = await run_in_threadpool(_page, hub, visit, browser, user_code, sign_on)
    keep(page, BROWSER, browser, public_url=public_url)
    return page


@router.post("/oauth/sign-in")
async def sign_in(request: Request, hub: CurrentHub, public_url: PublicUrl) -> Response:
    """Take an access token as proof of who somebody is."""
    fields = await _form(request, hub, public_url)
    if isinstance(fields, Response):
        return fields
    browser, code = browser_of(request, public_url), fields.get("user_code", "")
    if not _sign_ins.spend(network_of(request)):
        return _too_many()

    def look() -> Visit:
        with hub.database.reading() as session:
            caller = authenticate(session, fields.get("token", "").strip())
        if caller.token_kind is not TokenKind.ACCESS:
            # One that ends in some hours must not become one that renews itself for weeks.
            raise InvalidTokenError("A program's token does not say who sits at a browser.")
        return Visit(caller.user_id, caller.token_id, browser)

    try:
        visit = await run_in_threadpool(look)
    except InvalidTokenError:
        wrong = "The hub does not know this token, or it has expired."
        return _sign_in_page(
            hub, browser, code, sign_on=trusted_of(request).provider is not None, wrong=wrong
        )
    return signed_in(visit, hub, code, public_url=public_url)


def signed_in(visit: Visit, hub: Hub, user_code: str, *, public_url: str) -> Response:
    """Send somebody on to the code, now that the hub knows who they are."""
    query = f"?user_code={quote(user_code)}" if user_code else ""
    answer = RedirectResponse(f"{public_url}/oauth/device{query}", status_code=303)
    answer.headers["Cache-Control"] = "no-store"
    keep(answer, VISIT, visit.seal(hub.signer), public_url=public_url)
    return answer


@router.post("/oauth/decision")
async def decide(request: Request, hub: CurrentHub, public_url: PublicUrl) -> Response:
    """Let a program act as the user, or refuse it."""
    visit = visit_of(request, hub, public_url)
    fields = await _form(request, hub, public_url, user_id=visit.user_id if visit else 0)
    if isinstance(fields, Response):
        return fields
    if visit is None:
        return _expired()
    if not _guesses.allows(visit.user_id):
        return _too_many()

    def answer() -> str | None:
        with hub.database.writing() as session:
            who = visitor(session, visit)
            if who is None:
                return None
            by = None if who.token is None else who.token.name
            identify(name=who.user.name, token=by)
            found = device_flow.find(session, fields.get("user_code", ""))
            if fields.get("decision") != "approve":
                device_flow.deny(session, found)
                return ""
            device_flow.approve(
                *(session, found, who.user.id),
                role=Role.WRITE if fields.get("role") == Role.WRITE else Role.READ,
                days=hub.settings.sign_in_days,
                approved_by=who.token,
            )
            return who.user.name

    try:
        name = await in_writer(hub, answer)
    except NotFoundError as error:
        _guesses.spend(visit.user_id)
        return document("No such code", f"<p>{escape(str(error))}</p>", status=404)
    if name is None:
        return _expired()
    if not name:
        return document("Denied", "<p>The program gets no access. You can close this page.</p>")
    return document(
        "Signed in",
        f"<p>The program now acts as <b>{escape(name)}</b>. You can close this page and go back to "
        "your terminal.</p>",
    )


@router.post("/oauth/sign-out")
async def sign_out(request: Request, hub: CurrentHub, public_url: PublicUrl) -> Response:
    """Forget who sits at this browser."""
    visit = visit_of(request, hub, public_url)
    fields = await _form(request, hub, public_url, user_id=visit.user_id if visit else 0)
    if isinstance(fields, Response):
        return fields
    answer = document("Signed out", "<p>This browser is nobody's any more.</p>")
    forget(answer, VISIT, public_url=public_url)
    return answer


def _page(
    hub: Hub, visit: Visit | None, browser: str, user_code: str, sign_on: bool
) -> HTMLResponse:
    with hub.database.reading() as session:
        who = None if visit is None else visitor(session, visit)
        if who is None:
            return _sign_in_page(hub, browser, user_code, sign_on=sign_on)
        if not user_code:
            return _code_page(who)
        if not _guesses.allows(who.user.id):
            return _too_many()
        try:
            found = device_flow.find(session, user_code)
        except NotFoundError as error:
            _guesses.spend(who.user.id)
            return _code_page(who, wrong=str(error))
        form = seal_form(hub.signer, browser=browser, user_id=who.user.id)
        return _question(who, found, form)


def _sign_in_page(
    hub: Hub, browser: str, user_code: str, *, sign_on: bool, wrong: str = ""
) -> HTMLResponse:
    fields = {"form": seal_form(hub.signer, browser=browser), "user_code": user_code}
    alert = f'<p class="warning" role="alert">{escape(wrong)}</p>' if wrong else ""
    query = f"?user_code={quote(user_code)}" if user_code else ""
    elsewhere = f'<a class="button" href="sign-on{query}">Sign on with your institution</a><hr>'
    return document(
        "Who are you?",
        f"{alert}<p>A program wants to sign in to this hub. First say who you are.</p>"
        f"{elsewhere if sign_on else ''}"
        f'<form method="post" action="sign-in">{hidden(fields)}'
        '<label for="token">An access token of yours</label>'
        '<input type="password" id="token" name="token" autocomplete="off" required autofocus>'
        '<p class="small">Your administrator gave it to you. It stays between this page and the '
        "hub: the program never sees it.</p>"
        '<div class="row"><button>Continue</button></div></form>',
        status=401 if wrong else 200,
    )


def _code_page(who: Visitor, *, wrong: str = "") -> HTMLResponse:
    alert = f'<p class="warning" role="alert">{escape(wrong)}</p>' if wrong else ""
    return document(
        "Enter the code",
        f"{alert}<p>You are <b>{escape(who.user.name)}</b>. Which code does the program show?</p>"
        '<form method="get"><label for="code">Code</label>'
        '<input type="text" id="code" name="user_code" autocomplete="off" spellcheck="false" '
        'placeholder="BCDF-GHJK" required autofocus>'
        '<div class="row"><button>Continue</button></div></form>',
        status=404 if wrong else 200,
    )


def _question(who: Visitor, found: DeviceRequest, form: str) -> HTMLResponse:
    minutes = int((datetime.now(UTC) - found.created_at).total_seconds() // 60)
    told = {
        "Program": _PROGRAMS.get(found.client_id, f"unknown ({found.client_id})"),
        "It says it is": found.agent or "nothing",
        "Asked from": found.address,
        "Asked": "just now" if minutes < 1 else f"{minutes} minutes ago",
        "Would act as": who.user.name,
    }
    writes = who.token is None or Role(who.token.role).writes
    if who.token is not None and who.token.reach is not None:
        told["Limited to"] = ", ".join(who.token.reach)
    if who.token is not None and who.token.expires_at is not None:
        told["Ends at the latest"] = f"{who.token.expires_at:%Y-%m-%d %H:%M} UTC"
    read = (
        '<label><input type="radio" name="role" value="read"'
        f"{'' if writes else ' checked'}> read</label>"
    )
    write = '<label><input type="radio" name="role" value="write" checked> read and change</label>'
    fields = {"form": form, "user_code": found.user_code}
    return document(
        "Let this program act as you?",
        f'<p class="code">{escape(device_flow.shown(found.user_code))}</p>{facts(told)}'
        '<p class="warning">Approve only if you started this yourself, a moment ago, and your '
        "terminal shows this very code. If somebody sent you here, deny.</p>"
        f'<form method="post" action="decision">{hidden(fields)}'
        f"<fieldset><legend>It may</legend>{write if writes else ''}{read}</fieldset>"
        '<div class="row"><button name="decision" value="approve">Approve</button>'
        '<button class="quiet" name="decision" value="deny">Deny</button></div></form>'
        f'<hr><form method="post" action="sign-out">{hidden({"form": form})}'
        '<div class="row"><span class="small">Not '
        f'{escape(who.user.name)}?</span><button class="quiet">Sign out</button></div></form>',
    )


async def _form(
    request: Request, hub: Hub, public_url: str, *, user_id: int = 0
) -> dict[str, str] | Response:
    """Return what was typed, or the page for a form that did not come from a page of this hub."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return _expired()
    try:
        fields = await read_fields(request)
    except OAuthError as error:
        return document("This makes no sense", f"<p>{escape(str(error))}</p>", status=400)
    browser = browser_of(request, public_url)
    if not is_own_form(hub.signer, fields.get("form", ""), browser=browser, user_id=user_id):
        return _expired()
    return fields


def _expired() -> HTMLResponse:
    return document(
        "Please begin again",
        '<p>This page is too old, or did not come from here. <a href="device">Begin again</a>.</p>',
        status=403,
    )


def _too_many() -> HTMLResponse:
    page = document("Too many attempts", "<p>Wait ten minutes, then try again.</p>", status=429)
    page.headers["Retry-After"] = "600"
    return page
