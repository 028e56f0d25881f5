"""The few pages that people see: plain HTML, without scripts and with nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

from starlette.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --accent: #1f5fbf; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 34rem; margin: 8vh auto; padding: 2rem; border: 1px solid var(--line);
  border-radius: 12px; }
h1 { font-size: 1.4rem; margin: 0 0 1rem; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input[type=text], input[type=password] { width: 100%; padding: .6rem; font: inherit;
  border: 1px solid var(--line); border-radius: 8px; background: transparent; color: inherit; }
.code { font: 600 1.8rem/1.2 ui-monospace, monospace; letter-spacing: .12em; margin: 1rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0; }
dt { opacity: .7; }
dd { margin: 0; overflow-wrap: anywhere; }
fieldset { border: 1px solid var(--line); border-radius: 8px; margin: 1rem 0; }
fieldset label { font-weight: 400; margin: .25rem 0; }
button, .button { display: inline-block; padding: .6rem 1.2rem; font: inherit; font-weight: 600;
  border-radius: 8px; border: 1px solid var(--accent); background: var(--accent); color: #fff;
  cursor: pointer; text-decoration: none; }
button.quiet { background: transparent; color: inherit; border-color: var(--line); }
.row { display: flex; gap: .75rem; flex-wrap: wrap; margin-top: 1.25rem; align-items: center; }
.warning { border-left: 4px solid #c60; padding: .25rem 0 .25rem .9rem; }
.small { font-size: .875rem; opacity: .8; }
hr { border: 0; border-top: 1px solid var(--line); margin: 1.5rem 0; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def document(title: str, body: str, *, status: int = 200) -> HTMLResponse:
    """Return a page; `body` is HTML, in which all that others wrote has been escaped."""
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>",
        status_code=status,
        headers=_HEADERS,
    )


def hidden(fields: Mapping[str, str]) -> str:
    """Return what a form sends beside what is typed."""
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )


def facts(pairs: Mapping[str, str]) -> str:
    """Return a list of names and what belongs to them."""
    rows = "".join(f"<dt>{escape(n)}</dt><dd>{escape(value)}</dd>" for n, value in pairs.items())
    return f"<dl>{rows}</dl>"
