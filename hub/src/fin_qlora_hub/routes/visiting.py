"""What a browser keeps for the hub: a number of its own, and who sits at it for some minutes."""

from urllib.parse import urlsplit

from fastapi import Request
from starlette.responses import Response

from fin_qlora_hub.hub import Hub
from fin_qlora_hub.signing_in.visits import Visit

VISIT, BROWSER, SIGN_ON = "hub-visit", "hub-browser", "hub-sign-on"


def browser_of(request: Request, public_url: str) -> str:
    """Return the number of a browser; empty where it has none yet."""
    return kept(request, BROWSER, public_url)


def visit_of(request: Request, hub: Hub, public_url: str) -> Visit | None:
    """Return who sits at a browser."""
    note = kept(request, VISIT, public_url)
    return Visit.open(hub.signer, note, browser=browser_of(request, public_url)) if note else None


def kept(request: Request, name: str, public_url: str) -> str:
    """Return what a browser keeps under a name."""
    return request.cookies.get(_name(name, public_url), "")


def keep(answer: Response, name: str, value: str, *, public_url: str) -> None:
    """Give a browser something to keep, which no script and no other host can read."""
    answer.set_cookie(
        _name(name, public_url),
        value,
        path=_path(public_url),
        secure=public_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


def forget(answer: Response, name: str, *, public_url: str) -> None:
    """Take it away again."""
    answer.delete_cookie(
        _name(name, public_url),
        path=_path(public_url),
        secure=public_url.startswith("https:"),
        httponly=True,
        samesite="lax",
    )


def _name(name: str, public_url: str) -> str:
    """Return what a cookie is called; the prefix keeps other hosts from setting it."""
    return f"__Host-{name}" if public_url.startswith("https:") else name


def _path(public_url: str) -> str:
    return "/" if public_url.startswith("https:") else urlsplit(public_url).path or "/"
