"""A person's browser, as far as tests need one: cookies, and forms with what the page put in."""

from html.parser import HTMLParser

import httpx


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[dict[str, str], dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append((values, {}))
        elif tag == "input" and values.get("type") == "hidden":
            self.found[-1][1][values["name"]] = values["value"]


class Browser:
    """Visits pages of a hub; `page` is the last answer."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30, follow_redirects=True)
        self.page: httpx.Response | None = None

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def visit(self, address: str) -> httpx.Response:
        self.page = self.http.get(address)
        return self.page

    def form(self, action: str) -> dict[str, str]:
        """Return the hidden fields of a form on this page."""
        forms = _Forms()
        forms.feed(self.page.text)
        return next(hidden for found, hidden in forms.found if found.get("action") == action)

    def send(self, form: str, **typed: str) -> httpx.Response:
        """Fill in a form of this page and send it."""
        aim = self.page.url.join(form)
        self.page = self.http.post(aim, data={**self.form(form), **typed})
        return self.page

    def sign_in(self, token: str, *, code: str = "") -> httpx.Response:
        self.http.cookies.clear()  # whoever sat here before has gone
        self.visit("/oauth/device" + (f"?user_code={code}" if code else ""))
        return self.send("sign-in", token=token)

    def approve(self, token: str, code: str, *, role: str = "write") -> httpx.Response:
        """Do all that a person does after they have been shown a code."""
        self.sign_in(token, code=code)
        return self.send("decision", decision="approve", role=role)
