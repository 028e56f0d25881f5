"""Programs sign in by a code that somebody approves, and renew their tokens themselves."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path
from select import select as select_ready

import pytest
from browser import Browser
from sqlalchemy import select, update
from waiting import wait_until

from fin_qlora_hub.access.identity import Role, create_token, revoke_token
from fin_qlora_hub.access.reach import Reach
from fin_qlora_hub.metadata.tables import DeviceRequest, IssuedSecret, Token
from fin_qlora_hub.signing_in import device_flow, sign_ins
from fin_qlora_hub.signing_in.attempts import Attempts, Pace

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
HF = "26be6b09-91c5-47da-9861-d2d2bb7a7e36"


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch):
    """Let tests ask as often as they like; what limits them is tested by itself."""
    from fin_qlora_hub.routes import approval, oauth

    monkeypatch.setattr(device_flow, "INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr(oauth, "_asking", Attempts(10_000, seconds=60))
    monkeypatch.setattr(approval, "_sign_ins", Attempts(10_000, seconds=60))
    monkeypatch.setattr(approval, "_guesses", Attempts(10_000, seconds=60))


@pytest.fixture
def browser(running):
    with Browser(running.url) as opened:
        yield opened


def begin(hub, client_id: str = HF) -> dict[str, str]:
    with hub.http("anonymous") as http:
        answer = http.post("/oauth/device", data={"client_id": client_id})
    assert answer.status_code == 200, answer.text
    return answer.json()


def poll(hub, device_code: str, client_id: str = HF):
    fields = {"grant_type": DEVICE, "device_code": device_code, "client_id": client_id}
    with hub.http("anonymous") as http:
        return http.post("/oauth/token", data=fields)


def renew(hub, refresh_token: str, client_id: str = HF):
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": client_id,
    }
    with hub.http("anonymous") as http:
        return http.post("/oauth/token", data=fields)


def signed_in(hub, browser, *, token: str | None = None, role: str = "write") -> dict[str, str]:
    """Return the tokens of a fresh sign-in."""
    begun = begin(hub)
    page = browser.approve(token or hub.tokens["alice"], begun["user_code"], role=role)
    assert "Signed in" in page.text
    return poll(hub, begun["device_code"]).json()


def whoami(hub, token: str):
    with hub.http("anonymous") as http:
        return http.get("/api/whoami-v2", headers={"Authorization": f"Bearer {token}"})


def test_a_sign_in(running, browser) -> None:
    begun = begin(running)
    assert re.fullmatch(r"[B-Z]{4}-[B-Z]{4}", begun["user_code"])
    assert begun["verification_uri"] == f"{running.url}/oauth/device"
    assert begun["expires_in"] == 900
    waiting = poll(running, begun["device_code"])
    assert (waiting.status_code, waiting.json()["error"]) == (400, "authorization_pending")

    page = browser.visit(begun["verification_uri_complete"])
    assert "Who are you?" in page.text
    page = browser.send("sign-in", token=running.tokens["alice"])
    assert begun["user_code"] in page.text
    assert "hf auth login" in page.text
    page = browser.send("decision", decision="approve", role="write")
    assert "now acts as <b>alice</b>" in page.text

    given = poll(running, begun["device_code"]).json()
    assert given["token_type"] == "bearer"
    assert 47 * 3600 < given["expires_in"] <= 48 * 3600
    told = whoami(running, given["access_token"]).json()
    assert told["name"] == "alice"
    assert told["auth"]["type"] == "oauth"
    assert "displayName" not in told["auth"]["accessToken"]
    again = poll(running, begun["device_code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")


def test_nothing_is_kept_by_which_a_sign_in_could_be_used(running, browser) -> None:
    begun = begin(running)
    browser.approve(running.tokens["alice"], begun["user_code"])
    kept = running.hub.settings.database_path
    given = poll(running, begun["device_code"]).json()
    secrets = (begun["device_code"], given["access_token"], given["refresh_token"])
    if running.hub.settings.database_url is None:
        stored = kept.read_bytes() + kept.with_name(kept.name + "-wal").read_bytes()
        assert secrets[1][:12].encode() in stored  # by which it is found
        assert not any(secret.encode() in stored for secret in secrets)


def test_the_stock_client_in_a_terminal(running, browser, tmp_path) -> None:
    """`hf auth login`, `hf auth whoami`, `hf auth list`, as a newcomer types them."""
    environment = {**running.environment(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    del environment["HF_TOKEN"]
    environment |= {"TERM": "xterm", "COLUMNS": "200"}
    program = Path(sys.executable).with_name("hf")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program, "auth", "login"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""

    def read_until(words: bytes) -> None:
        nonlocal shown
        while words not in shown:
            ready, _, _ = select_ready([ours], [], [], 30)
            assert ready, shown.decode()
            shown += os.read(ours, 65536)

    try:
        read_until(b"Paste an access token")
        # Keys that are pressed before it reads keys are thrown away.
        assert wait_until(lambda: not termios.tcgetattr(ours)[3] & termios.ICANON)
        os.write(ours, b"\r")
        read_until(b"And enter the code: ")
        read_until(b"Waiting for authorization")
        code = re.search(rb"enter the code: (\S+)", shown).group(1).decode()
        assert f"{running.url}/oauth/device?user_code={code}".encode() in shown
        browser.approve(running.tokens["alice"], code)
        read_until(b"Login successful")
        assert process.wait(30) == 0, shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)

    def hf(*words: str) -> str:
        done = subprocess.run(
            [program, *words], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "alice" in hf("auth", "whoami")
    assert "oauth-alice" in hf("auth", "list")
    hf("repos", "create", f"alice/from-a-sign-in-{os.getpid()}")


def test_the_stock_client_renews_its_token(start_hub, tmp_path, run_python) -> None:
    """With less than a day left every process does so; in the end the sign-in is over."""
    with start_hub(tmp_path / "data", access_token_hours=2) as hub, Browser(hub.url) as browser:
        given = signed_in(hub, browser)
        environment = hub.environment(tmp_path)
        del environment["HF_TOKEN"]
        save = (
            "import json, sys; from huggingface_hub._login import _save_oauth_token;"
            "_save_oauth_token(json.loads(sys.argv[1]))"
        )
        done = run_python("-c", save, json.dumps(given), env=environment)
        assert done.returncode == 0, done.stderr
        look = (
            "from huggingface_hub import get_token, whoami;"
            "print(get_token(), whoami()['name'], get_token())"
        )
        seen = {given["access_token"]}
        for _ in range(2):
            done = run_python("-c", look, env=environment)
            first, name, second = done.stdout.split()
            assert (name, first) == ("alice", second), done.stderr
            assert first not in seen
            seen.add(first)
        with hub.hub.database.writing() as session:
            name = session.scalar(select(Token.name).filter_by(kind="sign-in"))
            revoke_token(session, "alice", name=name)
        ask = "from huggingface_hub import get_token; get_token()"
        done = run_python("-c", ask, env=environment)
        assert "hf auth login" in done.stderr
        assert all(whoami(hub, token).status_code == 401 for token in seen)


def test_a_refresh_token_is_rotated(running, browser) -> None:
    first = signed_in(running, browser)
    second = renew(running, first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    for given in (first, second):  # others of the user's processes still have the first
        assert whoami(running, given["access_token"]).status_code == 200


def test_an_answer_that_was_lost(running, browser) -> None:
    """The same refresh token is good for a while, and what it brings is good too."""
    first = signed_in(running, browser)
    second = renew(running, first["refresh_token"]).json()
    third = renew(running, first["refresh_token"]).json()
    for given in (second, third):
        assert renew(running, given["refresh_token"]).status_code == 200


def test_a_refresh_token_that_comes_back_late_ends_the_sign_in(running, browser) -> None:
    first = signed_in(running, browser)
    second = renew(running, first["refresh_token"]).json()
    with running.hub.database.writing() as session:
        late = datetime.now(UTC) - sign_ins.REUSE - timedelta(seconds=1)
        session.execute(
            update(IssuedSecret).where(IssuedSecret.used_at.is_not(None)).values(used_at=late)
        )
    refused = renew(running, first["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert renew(running, second["refresh_token"]).json()["error"] == "invalid_grant"
    for given in (first, second):
        assert whoami(running, given["access_token"]).status_code == 401


def test_two_that_renew_from_one_copy_are_found_out(running, browser) -> None:
    """A thief who is quick enough gets a token too, but cannot go on beside its owner."""
    first = signed_in(running, browser)
    owner = renew(running, first["refresh_token"]).json()
    thief = renew(running, first["refresh_token"]).json()
    owner = renew(running, owner["refresh_token"]).json()
    with running.hub.database.writing() as session:
        late = datetime.now(UTC) - sign_ins.REUSE - timedelta(seconds=1)
        session.execute(
            update(IssuedSecret).where(IssuedSecret.used_at.is_not(None)).values(used_at=late)
        )
    assert renew(running, thief["refresh_token"]).json()["error"] == "invalid_grant"
    assert renew(running, owner["refresh_token"]).json()["error"] == "invalid_grant"
    for given in (first, owner, thief):
        assert whoami(running, given["access_token"]).status_code == 401


def test_a_program_s_token_approves_no_other_program(running, browser) -> None:
    """What ends in hours would become something that renews itself for weeks."""
    given = signed_in(running, browser)
    page = browser.sign_in(given["access_token"], code=begin(running)["user_code"])
    assert (page.status_code, "Who are you?" in page.text) == (401, True)


def test_codes_that_have_expired_keep_nobody_waiting(running, monkeypatch) -> None:
    with running.hub.database.writing() as session:
        session.execute(update(DeviceRequest).values(expires_at=datetime.now(UTC)))
    monkeypatch.setattr(device_flow, "MAX_WAITING", 1)
    begin(running)
    with running.http("anonymous") as http:
        assert http.post("/oauth/device", data={"client_id": HF}).status_code == 503


def test_codes_and_refresh_tokens_are_one_program_s(running, browser) -> None:
    begun = begin(running, "mine")
    browser.approve(running.tokens["alice"], begun["user_code"])
    assert poll(running, begun["device_code"], "other").json()["error"] == "invalid_grant"
    given = poll(running, begun["device_code"], "mine").json()
    refused = renew(running, given["refresh_token"], "other")
    assert refused.json()["error"] == "invalid_grant"
    assert renew(running, given["refresh_token"], "mine").status_code == 200


def test_an_access_token_is_no_refresh_token_and_the_reverse(running, browser) -> None:
    given = signed_in(running, browser)
    assert renew(running, given["access_token"]).json()["error"] == "invalid_grant"
    assert whoami(running, given["refresh_token"]).status_code == 401
    assert renew(running, running.tokens["alice"]).json()["error"] == "invalid_grant"


def test_denied(running, browser) -> None:
    begun = begin(running)
    browser.sign_in(running.tokens["alice"], code=begun["user_code"])
    assert "Denied" in browser.send("decision", decision="deny", role="write").text
    assert poll(running, begun["device_code"]).json()["error"] == "access_denied"


def test_expired(running, browser) -> None:
    begun = begin(running)
    browser.sign_in(running.tokens["alice"], code=begun["user_code"])
    with running.hub.database.writing() as session:
        found = device_flow.find(session, begun["user_code"])
        found.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert browser.send("decision", decision="approve", role="write").status_code == 404
    assert poll(running, begun["device_code"]).json()["error"] == "expired_token"


def test_an_approved_code_expires_too(running, browser) -> None:
    begun = begin(running)
    browser.approve(running.tokens["alice"], begun["user_code"])
    with running.hub.database.writing() as session:
        session.execute(
            update(DeviceRequest)
            .where(DeviceRequest.user_code == device_flow.plain(begun["user_code"]))
            .values(expires_at=datetime.now(UTC) - timedelta(seconds=1))
        )
    assert poll(running, begun["device_code"]).json()["error"] == "expired_token"


def test_a_code_is_approved_once(running, browser) -> None:
    begun = begin(running)
    browser.approve(running.tokens["alice"], begun["user_code"])
    with Browser(running.url) as other:
        page = other.sign_in(running.tokens["carol"], code=begun["user_code"])
        assert page.status_code == 404
    given = poll(running, begun["device_code"]).json()
    assert whoami(running, given["access_token"]).json()["name"] == "alice"


def test_a_sign_in_carries_no_further_than_what_approved_it(running, browser, repository) -> None:
    given = signed_in(running, browser, token=running.tokens["alice-read"])
    assert whoami(running, given["access_token"]).json()["auth"]["accessToken"]["role"] == "read"
    ends = datetime.now(UTC) + timedelta(hours=3)
    with running.hub.database.writing() as session:
        name = f"limited-{repository}"
        token = create_token(
            session,
            "alice",
            name=name,
            role=Role.WRITE,
            expires_at=ends,
            reach=Reach.of([repository]),
        )
    given = signed_in(running, browser, token=token)
    assert given["expires_in"] <= 3 * 3600
    told = whoami(running, given["access_token"]).json()["auth"]["accessToken"]
    assert told["fineGrained"]["scoped"][0]["entity"]["name"] == repository
    with running.hub.database.writing() as session:
        revoke_token(session, "alice", name=name)
    assert whoami(running, given["access_token"]).status_code == 401
    assert renew(running, given["refresh_token"]).json()["error"] == "invalid_grant"


def test_reading_is_enough_where_that_was_chosen(running, browser, repository) -> None:
    given = signed_in(running, browser, role="read")
    with running.http("anonymous") as http:
        http.headers["Authorization"] = f"Bearer {given['access_token']}"
        assert http.get(f"/api/models/{repository}").status_code == 200
        settings = {"visibility": "public"}
        assert http.put(f"/api/models/{repository}/settings", json=settings).status_code == 403


def test_a_token_that_is_revoked_while_its_owner_reads_the_page(running, browser) -> None:
    with running.hub.database.writing() as session:
        token = create_token(session, "alice", name="short-lived", role=Role.WRITE)
    begun = begin(running)
    browser.sign_in(token, code=begun["user_code"])
    with running.hub.database.writing() as session:
        revoke_token(session, "alice", name="short-lived")
    assert browser.send("decision", decision="approve", role="write").status_code == 403
    assert poll(running, begun["device_code"]).json()["error"] == "authorization_pending"


@pytest.mark.parametrize("token", ["", "fqh_wrong", "alice", "ünsinn"])
def test_a_wrong_token_on_the_page(running, browser, token) -> None:
    page = browser.sign_in(token)
    assert page.status_code == 401
    assert "does not know this token" in page.text
    assert "hub-visit" not in browser.http.cookies


def test_pages_run_nothing_and_are_shown_in_no_frame(running, browser) -> None:
    page = browser.sign_in(running.tokens["alice"], code=begin(running)["user_code"])
    for headers in (page.headers, browser.visit("/oauth/device").headers):
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"


def test_what_a_program_says_of_itself_is_text(running, browser) -> None:
    evil = '<script>alert("1")</script>'
    with running.http("anonymous") as http:
        begun = http.post(
            "/oauth/device", data={"client_id": evil}, headers={"User-Agent": evil}
        ).json()
    page = browser.sign_in(running.tokens["alice"], code=begun["user_code"])
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    page = browser.visit("/oauth/device?user_code=%22%3E%3Cscript%3E")
    assert "<script" not in page.text


def test_what_a_program_says_of_itself_steers_no_terminal(running) -> None:
    with running.http("anonymous") as http:
        sent = {"User-Agent": b"tool/7 \x9b2J\x9d0;owned\x9c"}
        assert http.post("/oauth/device", data={"client_id": HF}, headers=sent).status_code == 200
    with running.hub.database.reading() as session:
        agents = list(session.scalars(select(DeviceRequest.agent)))
    assert "tool/7 2J0;owned" in agents


def test_forms_of_others_are_refused(running, browser) -> None:
    """Neither a stranger's page nor another browser can approve or sign somebody in."""
    begun = begin(running)
    browser.sign_in(running.tokens["alice"], code=begun["user_code"])
    fields = browser.form("decision")
    approve = {"decision": "approve", "role": "write"}
    send = browser.http.post
    assert (
        send("/oauth/decision", data={**approve, "user_code": begun["user_code"]}).status_code
        == 403
    )
    stale = {**fields, **approve, "form": fields["form"][:-2]}
    assert send("/oauth/decision", data=stale).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert send("/oauth/decision", data={**fields, **approve}, headers=cross).status_code == 403
    with Browser(running.url) as thief:
        thief.visit("/oauth/device")
        own = thief.form("sign-in")
        assert thief.http.post("/oauth/decision", data={**fields, **approve}).status_code == 403
        # Somebody else's form, from their browser to this one: nobody is signed in by it.
        token = {"token": running.tokens["carol"]}
        browser.http.cookies.delete("hub-visit")
        assert send("/oauth/sign-in", data={**own, **token}).status_code == 403
        thief.http.cookies.set("hub-visit", "x.y")
        assert "Who are you?" in thief.visit("/oauth/device").text
    assert poll(running, begun["device_code"]).json()["error"] == "authorization_pending"


def test_a_visit_is_one_browser_s(running, browser) -> None:
    browser.sign_in(running.tokens["alice"])
    with Browser(running.url) as thief:
        thief.visit("/oauth/device")
        thief.http.cookies.set("hub-visit", browser.http.cookies["hub-visit"])
        assert "Who are you?" in thief.visit("/oauth/device").text


def test_sign_out(running, browser) -> None:
    browser.sign_in(running.tokens["alice"], code=begin(running)["user_code"])
    assert "nobody" in browser.send("sign-out").text
    assert "Who are you?" in browser.visit("/oauth/device").text


def test_cookies_are_for_the_hub_alone(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", public_url="https://hub.example/registry") as hub:
        with hub.http("anonymous") as http:
            page = http.get("/registry/oauth/device")
        cookie = page.headers["set-cookie"].lower()
        assert cookie.startswith("__host-hub-browser=")
        for word in ("secure", "httponly", "samesite=lax", "path=/;"):
            assert word in cookie + ";"
        begun = begin(hub)
        assert begun["verification_uri"] == "https://hub.example/registry/oauth/device"


def test_codes_cannot_be_guessed_for_long(running, browser, monkeypatch) -> None:
    from fin_qlora_hub.routes import approval

    monkeypatch.setattr(approval, "_guesses", Attempts(3, seconds=60))
    begun = begin(running)
    browser.sign_in(running.tokens["walter"])
    for _ in range(3):
        assert browser.visit("/oauth/device?user_code=BBBB-BBBB").status_code == 404
    page = browser.visit(f"/oauth/device?user_code={begun['user_code']}")
    assert page.status_code == 429
    browser.sign_in(running.tokens["alice"])  # it counts for each user by themselves
    assert browser.visit(f"/oauth/device?user_code={begun['user_code']}").status_code == 200


def test_tokens_cannot_be_tried_for_long(running, browser, monkeypatch) -> None:
    from fin_qlora_hub.routes import approval

    monkeypatch.setattr(approval, "_sign_ins", Attempts(2, seconds=60))
    for _ in range(2):
        assert browser.sign_in("fqh_wrong").status_code == 401
    assert browser.sign_in(running.tokens["alice"]).status_code == 429


def test_codes_cannot_be_asked_for_without_end(running, monkeypatch) -> None:
    from fin_qlora_hub.routes import oauth

    monkeypatch.setattr(oauth, "_asking", Attempts(1, seconds=60))
    begin(running)
    with running.http("anonymous") as http:
        answer = http.post("/oauth/device", data={"client_id": HF})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    monkeypatch.setattr(oauth, "_asking", Attempts(10, seconds=60))
    monkeypatch.setattr(device_flow, "MAX_WAITING", 1)
    with running.http("anonymous") as http:
        assert http.post("/oauth/device", data={"client_id": HF}).status_code == 503


def test_programs_that_ask_too_often(running, monkeypatch) -> None:
    monkeypatch.setattr(device_flow, "INTERVAL_SECONDS", 5)
    begun = begin(running)
    assert poll(running, begun["device_code"]).json()["error"] == "authorization_pending"
    assert poll(running, begun["device_code"]).json()["error"] == "slow_down"


def test_the_pace() -> None:
    now = [0.0]
    pace = Pace(now=lambda: now[0])
    asked = []
    for moment in (0, 1, 8, 18.1, 28.1, 100):
        now[0] = moment
        asked.append(pace.keeps("a", interval=5))
    # Whoever was too early must wait five seconds longer from then on.
    assert asked == [True, False, False, False, False, True]
    assert pace.keeps("b", interval=5)


def test_attempts() -> None:
    now = [0.0]
    attempts = Attempts(2, seconds=10, now=lambda: now[0])
    assert [attempts.spend("a") for _ in range(3)] == [True, True, False]
    assert not attempts.allows("a")
    assert attempts.spend("b")
    now[0] = 10.0
    assert attempts.allows("a")
    assert attempts.spend("a")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"grant_type": "password", "username": "a"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": DEVICE, "client_id": HF}, "invalid_request"),
        ({"grant_type": DEVICE, "device_code": "x"}, "invalid_request"),
        ({"grant_type": DEVICE, "device_code": "x", "client_id": "é"}, "invalid_client"),
        ({"grant_type": DEVICE, "device_code": "x", "client_id": HF}, "invalid_grant"),
        ({"grant_type": DEVICE, "device_code": ["x", "y"], "client_id": HF}, "invalid_request"),
        ({"grant_type": "refresh_token", "refresh_token": "x" * 70_000}, "invalid_request"),
    ],
)
def test_requests_that_make_no_sense(running, body, error) -> None:
    with running.http("anonymous") as http:
        answer = http.post("/oauth/token", data=body)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
        assert answer.json()["error_description"]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"1", b'{"grant_type": 1}', b'"\xff"', b'{"a": "\\ud800"}', b"[1]"]
)
def test_json_that_makes_no_sense(running, content) -> None:
    headers = {"Content-Type": "application/json"}
    with running.http("anonymous") as http:
        for path in ("/oauth/token", "/oauth/device"):
            answer = http.post(path, content=content, headers=headers)
            assert answer.status_code == 400


def test_the_administrator_answers(command, start_hub, tmp_path) -> None:
    assert command("init").returncode == 0
    with start_hub(tmp_path / "data", **_place()) as hub:
        begun = [begin(hub) for _ in range(2)]
        codes = [one["user_code"] for one in begun]
        listed = command("device", "list", "--format", "json").stdout.splitlines()
        assert [json.loads(line)["code"] for line in listed] == codes
        done = command("device", "approve", codes[0].lower(), "--user", "bob", "--format", "quiet")
        name = done.stdout.strip()
        assert command("device", "deny", codes[1]).returncode == 0
        assert command("device", "list").stdout == ""
        given = poll(hub, begun[0]["device_code"]).json()
        told = whoami(hub, given["access_token"]).json()
        assert (told["name"], told["auth"]["accessToken"]["role"]) == ("bob", "read")
        assert poll(hub, begun[1]["device_code"]).json()["error"] == "access_denied"
        assert name in command("token", "list", "bob").stdout
        command("token", "revoke", "bob", "--name", name)
        assert whoami(hub, given["access_token"]).status_code == 401
        assert command("device", "approve", "BBBB-BBBB", "--user", "bob").returncode == 5


def _place() -> dict[str, str]:
    url = os.environ.get("FIN_QLORA_HUB_DATABASE_URL")
    return {} if url is None else {"database_url": url}


def test_secrets_do_not_gather(running, browser) -> None:
    given = signed_in(running, browser)
    with running.hub.database.writing() as session:
        number = session.scalar(select(Token.id).order_by(Token.id.desc()).limit(1))
        for _ in range(sign_ins.MAX_SECRETS):
            sign_ins.issue(session, session.get_one(Token, number), hours=1)
        held = session.scalars(select(IssuedSecret).filter_by(token_id=number)).all()
        assert len(held) <= sign_ins.MAX_SECRETS + 2
    assert wait_until(lambda: whoami(running, given["access_token"]).status_code == 401)


def test_requests_without_a_token_are_counted(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", requests_per_minute=3) as hub:
        answers = [poll(hub, f"code {number}").status_code for number in range(4)]
        assert answers == [400, 400, 400, 429]
        with hub.http("anonymous") as http:
            assert http.get("/oauth/device").status_code == 429
