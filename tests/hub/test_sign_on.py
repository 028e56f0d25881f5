"""People sign on at their institution, and the hub knows who they are here."""

from urllib.parse import parse_qs, urlsplit

import pytest
from browser import Browser
from issuer import Key, running_issuer

from fin_qlora_hub.access.identity import add_organization, add_user, find_user
from fin_qlora_hub.errors import UnusableDataError
from fin_qlora_hub.outgoing import Outgoing
from fin_qlora_hub.signing_in import device_flow
from fin_qlora_hub.signing_in.attempts import Attempts
from fin_qlora_hub.signing_in.provider import Provider
from fin_qlora_hub.signing_in.trust import SignOn

TRUST = """
[sign_on]
issuer = "{issuer}"
client_id = "hub"
client_secret_file = "{secret}"
create_users = {create}

[sign_on.groups]
desk-readers = {{ desk = "read" }}
desk-writers = {{ desk = "write", missing = "write" }}
"""


@pytest.fixture(scope="module")
def issuer():
    with running_issuer() as running:
        yield running


@pytest.fixture
def somebody(issuer):
    """Say who comes to the provider: `somebody(sub="p-1", preferred_username="alice")`."""
    before = issuer.person

    def come(**claims: object) -> None:
        issuer.person = claims

    yield come
    issuer.person, issuer.spoil, issuer.replies = before, {}, {}


@pytest.fixture(scope="module")
def start(issuer, open_a_hub, tmp_path_factory):
    def begin(*, create: bool):
        folder = tmp_path_factory.mktemp("sign-on")
        (folder / "secret").write_text("a secret\n")
        (folder / "trust.toml").write_text(
            TRUST.format(issuer=issuer.url, secret=folder / "secret", create=str(create).lower())
        )
        return open_a_hub(
            folder / "data",
            trust_file=folder / "trust.toml",
            outgoing_networks=("127.0.0.0/8",),
        )

    return begin


@pytest.fixture(scope="module")
def hub(start):
    with start(create=True) as running:
        yield running


@pytest.fixture
def browser(hub):
    with Browser(hub.url) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch):
    from fin_qlora_hub.routes import approval, oauth

    monkeypatch.setattr(oauth, "_asking", Attempts(10_000, seconds=60))
    monkeypatch.setattr(approval, "_guesses", Attempts(10_000, seconds=60))


def ask(hub) -> dict[str, str]:
    with hub.http("anonymous") as http:
        return http.post("/oauth/device", data={"client_id": "c"}).json()


def roles(hub, user: str) -> dict[str, str]:
    from sqlalchemy import select

    from fin_qlora_hub.metadata.tables import Membership, Namespace

    with hub.hub.database.reading() as session:
        number = find_user(session, user).id
        query = select(Namespace.name, Membership.role).join(
            Membership, Membership.organization_id == Namespace.id
        )
        return dict(session.execute(query.where(Membership.user_id == number)).all())


def test_from_the_code_to_the_token(hub, browser, somebody) -> None:
    somebody(sub="p-alice", preferred_username="alice")
    begun = ask(hub)
    page = browser.visit(begun["verification_uri_complete"])
    assert "Sign on with your institution" in page.text
    page = browser.visit(f"/oauth/sign-on?user_code={begun['user_code']}")
    assert page.url.path == "/oauth/device"
    assert begun["user_code"] in page.text
    assert "<dd>alice</dd>" in page.text
    assert (
        "now acts as <b>alice</b>"
        in browser.send("decision", decision="approve", role="write").text
    )
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": begun["device_code"],
        "client_id": "c",
    }
    with hub.http("anonymous") as http:
        given = http.post("/oauth/token", data=fields).json()
        http.headers["Authorization"] = f"Bearer {given['access_token']}"
        assert http.get("/api/whoami-v2").json()["name"] == "alice"
    assert device_flow.CODE_SECONDS == 900


def test_what_the_provider_is_asked(hub) -> None:
    with hub.http("anonymous") as http:
        answer = http.get("/oauth/sign-on")
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["scope"] == ["openid profile email"]
    assert asked["redirect_uri"] == [f"{hub.url}/oauth/callback"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name][0]) >= 43
    assert "httponly" in answer.headers["set-cookie"].lower()


def test_somebody_new(hub, browser, somebody) -> None:
    somebody(sub="p-new", preferred_username="newcomer", name="A Newcomer", email="n@bank.example")
    assert "<b>newcomer</b>" in browser.visit("/oauth/sign-on").text
    with hub.hub.database.reading() as session:
        made = find_user(session, "newcomer")
        assert (made.full_name, made.email) == ("A Newcomer", "n@bank.example")


def test_the_provider_s_number_counts_and_no_name(hub, browser, somebody) -> None:
    """Whoever gets somebody's name later is not that person; whoever changes theirs still is."""
    somebody(sub="p-1", preferred_username="first")
    browser.visit("/oauth/sign-on")
    somebody(sub="p-1", preferred_username="renamed")
    assert "<b>first</b>" in browser.visit("/oauth/sign-on").text
    somebody(sub="p-2", preferred_username="first")
    browser.http.cookies.clear()
    page = browser.visit("/oauth/sign-on")
    assert (page.status_code, "not to this hub" in page.text) == (403, True)


@pytest.mark.parametrize("name", ["desk", "admin", "", None, 7, ["alice"], "a/b", "a" * 200])
def test_names_that_are_nobody_s(hub, browser, somebody, name) -> None:
    somebody(sub=f"p-{name}"[:50], preferred_username=name)
    assert browser.visit("/oauth/sign-on").status_code == 403


def test_strangers_where_nobody_is_made(start, somebody) -> None:
    with start(create=False) as hub, Browser(hub.url) as browser:
        somebody(sub="p-9", preferred_username="stranger")
        assert browser.visit("/oauth/sign-on").status_code == 403
        somebody(sub="p-8", preferred_username="carol")
        assert "<b>carol</b>" in browser.visit("/oauth/sign-on").text


def test_groups_are_roles(hub, browser, somebody) -> None:
    with hub.hub.database.writing() as session:
        add_user(session, "grouped")
        add_organization(session, "own-desk", owner="grouped")

    def come(*groups: object) -> dict[str, str]:
        somebody(sub="p-g", preferred_username="grouped", groups=list(groups))
        assert "<b>grouped</b>" in browser.visit("/oauth/sign-on").text
        return roles(hub, "grouped")

    own = {"own-desk": "admin"}
    assert come("desk-readers") == {**own, "desk": "read"}
    assert come("desk-writers", "desk-readers", "x", 7) == {**own, "desk": "write"}
    assert come("DESK-READERS") == own
    assert come() == own


@pytest.mark.parametrize(
    "spoil",
    [
        {"nonce": "another"}, {"nonce": None}, {"aud": "another"}, {"aud": ["hub", "another"]},
        {"exp": 1}, {"iss": "https://other.example"}, {"sub": None},
    ],
)  # fmt: skip
def test_tokens_that_do_not_count(hub, browser, somebody, issuer, spoil) -> None:
    somebody(sub="p-a", preferred_username="walter")
    issuer.spoil = spoil
    assert browser.visit("/oauth/sign-on").status_code == 403
    assert "hub-visit" not in browser.http.cookies


def test_a_token_of_somebody_else_s_key(hub, browser, somebody, issuer, monkeypatch) -> None:
    somebody(sub="p-a", preferred_username="walter")
    monkeypatch.setattr(issuer, "keys", [Key("one")])
    assert browser.visit("/oauth/sign-on").status_code == 403


def _returned(hub, browser) -> str:
    """Return the address with which the provider would send a browser back."""
    browser.http.follow_redirects = False
    away = browser.visit("/oauth/sign-on").headers["location"]
    with Browser(away) as outside:
        outside.http.follow_redirects = False
        return outside.visit(away).headers["location"]


def test_the_way_back_is_one_browser_s_and_used_once(hub, browser, somebody) -> None:
    somebody(sub="p-w", preferred_username="walter")
    back = _returned(hub, browser)
    with Browser(hub.url) as victim:  # somebody is lured to the end of another's sign-on
        assert victim.visit(back).status_code == 403
        victim.visit("/oauth/device")
        victim.http.cookies.set("hub-sign-on", browser.http.cookies["hub-sign-on"])
        assert victim.visit(back).status_code == 403
    tampered = back.replace("state=", "state=x")
    assert browser.visit(tampered).status_code == 403
    assert browser.visit(back).status_code == 303
    assert browser.visit(back).status_code == 403


def test_another_issuer_s_answer(hub, browser, somebody, issuer) -> None:
    back = _returned(hub, browser)
    mixed = back[: back.index("iss=")] + "iss=https%3A%2F%2Fother.example"
    assert browser.visit(mixed).status_code == 403


def test_the_person_said_no(hub, browser) -> None:
    back = _returned(hub, browser)
    state = parse_qs(urlsplit(back).query)["state"][0]
    page = browser.visit(f"/oauth/callback?error=access_denied&state={state}")
    assert page.status_code == 403


@pytest.mark.parametrize("reply", [(500, b""), (200, b"{}"), (200, b"[]"), (200, b"x")])
def test_a_provider_that_fails(hub, browser, somebody, issuer, reply) -> None:
    issuer.replies = {"/token": reply}
    assert browser.visit("/oauth/sign-on").status_code in (403, 503)
    assert "hub-visit" not in browser.http.cookies


def test_a_provider_that_is_away(issuer, somebody) -> None:
    issuer.replies = {"/.well-known/openid-configuration": (503, b"")}
    provider = Provider(SignOn(issuer=issuer.url, client_id="hub"), Outgoing())
    from fin_qlora_hub.outgoing import ForbiddenAddressError

    with pytest.raises(ForbiddenAddressError):
        provider.begin(redirect_uri="x")


def test_without_a_provider(running) -> None:
    with running.http("anonymous") as http:
        for path in ("/oauth/sign-on", "/oauth/callback?code=a&state=b"):
            assert http.get(path).status_code == 404
        assert "institution" not in http.get("/oauth/device").text


def test_a_secret_that_is_not_there(tmp_path) -> None:
    sign_on = SignOn(issuer="https://a", client_id="hub", client_secret_file=tmp_path / "missing")
    with pytest.raises(UnusableDataError, match="secret"):
        Provider(sign_on, Outgoing())
