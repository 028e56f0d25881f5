"""The key of the hub is changed by command, and nothing else than it signs."""

import base64
import json

import pytest
from waiting import wait_until

from fin_qlora_hub.access import keys, signing
from fin_qlora_hub.access.keys import change_key, read_keys
from fin_qlora_hub.access.signing import Keys, Signer
from fin_qlora_hub.errors import ForbiddenError, InvalidTokenError


def test_what_a_former_key_signed_counts_until_its_end(monkeypatch) -> None:
    before, after = Signer(Keys(b"a")), Signer(Keys(b"b", b"a", 2000.0))
    monkeypatch.setattr(signing.time, "time", lambda: 1000.0)
    sealed, _ = before.seal("use", {"n": 1}, seconds=5000)
    assert after.open("use", sealed)["n"] == 1
    assert after.open("use", after.seal("use", {"n": 2}, seconds=9)[0])["n"] == 2
    with pytest.raises(InvalidTokenError):
        before.open("use", after.seal("use", {"n": 2}, seconds=9)[0])
    with pytest.raises(InvalidTokenError):
        Signer(Keys(b"b")).open("use", sealed)
    monkeypatch.setattr(signing.time, "time", lambda: 2001.0)
    with pytest.raises(InvalidTokenError):
        after.open("use", sealed)


def test_what_is_signed_is_for_one_use_unchanged_and_has_an_end(monkeypatch) -> None:
    signer = Signer(Keys(b"k" * 32))
    sealed, end = signer.seal("one", {"n": 1}, seconds=60)
    text, _, mac = sealed.partition(".")
    claims = json.loads(base64.urlsafe_b64decode(text + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**claims, "n": 2}).encode()).decode().rstrip("=")
    for bad in (f"{other}.{mac}", f"{text}.", text, "", ".", f"{sealed}x", f"{text}.{mac[:-1]}é"):
        with pytest.raises(InvalidTokenError):
            signer.open("one", bad)
    with pytest.raises(InvalidTokenError):
        signer.open("two", sealed)
    monkeypatch.setattr(signing.time, "time", lambda: end + signing.CLOCK_SECONDS + 1)
    with pytest.raises(ForbiddenError, match="expired"):
        signer.open("one", sealed)


def test_a_running_server_notices(start_hub, tmp_path, monkeypatch, command, at) -> None:
    monkeypatch.setattr(keys, "REFRESH_SECONDS", 0.05)
    with start_hub(tmp_path / "data") as hub, hub.http() as http:
        at(hub)
        hub.api().create_repo("alice/a")
        address = "/api/models/alice/a/xet-write-token/main"

        def token() -> tuple[str, str]:
            given = http.get(address).json()
            return given["casUrl"], given["accessToken"]

        def status(given: tuple[str, str]) -> int:
            headers = {"Authorization": f"Bearer {given[1]}"}
            return http.get(f"{given[0]}/v1/chunks/default/{'0' * 64}", headers=headers).status_code

        first = token()
        assert status(first) == 404
        present = hub.hub.signer.keys.present
        assert command("change-key").returncode == 0
        assert wait_until(lambda: hub.hub.signer.keys.present != present)
        assert status(first) == status(token()) == 404
        second = token()
        assert command("change-key", "--at-once").returncode == 0
        assert wait_until(lambda: hub.hub.signer.keys.former is None)
        assert status(first) == status(second) == 401
        assert status(token()) == 404
        told = command("audit", "list", "--format=json").stdout
        assert told.count('"signing-key.changed"') == 2
        assert present.hex() not in told


def test_a_key_is_long_and_new_each_time(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data") as hub:
        seen = []
        for _ in range(3):
            with hub.hub.database.writing() as session:
                change_key(session, at_once=False)
            with hub.hub.database.reading() as session:
                found = read_keys(session)
            seen += [found.present, found.former]
        assert len(set(seen)) == 4
        assert all(len(key) == 32 for key in seen)


@pytest.mark.parametrize("caller", ["alice", "alice-read"])
def test_tokens_of_users_hold_enough_chance(running, caller) -> None:
    secret = running.tokens[caller].removeprefix("fqh_")
    assert len(base64.urlsafe_b64decode(secret + "=")) * 8 >= 160
