"""Tokens are remembered only while nobody has changed anything."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from fin_qlora_hub.access.authentication import KnownCallers
from fin_qlora_hub.access.freshness import watch
from fin_qlora_hub.access.identity import Role, authenticate, create_token, revoke_token
from fin_qlora_hub.access.using import TokenUses
from fin_qlora_hub.errors import InvalidTokenError
from fin_qlora_hub.metadata.tables import Token


@pytest.fixture(autouse=True)
def _quiet(running, monkeypatch) -> None:
    """Nothing else changes the metadata meanwhile."""
    monkeypatch.setattr(running.hub.token_uses, "flush", lambda: None)
    monkeypatch.setattr(running.hub.downloads, "flush", lambda: None)


@pytest.fixture
def known(running) -> KnownCallers:
    return KnownCallers(running.hub.database, watch(running.hub.settings.database_path))


def new_token(running, name: str, **when) -> str:
    with running.hub.database.writing() as session:
        return create_token(session, "alice", name=name, role=Role.WRITE, **when)


@pytest.mark.sqlite
def test_a_caller_is_recalled_until_anything_changes(running, known, new_name) -> None:
    token = running.tokens["alice"]
    assert known.recall(token) is None
    assert known.look_up(token).name == "alice"
    assert known.recall(token).name == "alice"
    assert known.recall(token + "x") is None
    running.api("carol").create_repo(new_name("carol"))
    assert known.recall(token) is None
    assert known.look_up(token).name == "alice"
    assert known.recall(token).name == "alice"


@pytest.mark.sqlite
def test_another_process_revokes_at_once(running, known) -> None:
    token = new_token(running, "lost laptop")
    known.look_up(token)
    assert known.recall(token) is not None
    with running.http("anonymous") as http:
        http.headers["Authorization"] = f"Bearer {token}"
        assert http.get("/api/whoami-v2").status_code == 200
        assert http.get("/api/whoami-v2").status_code == 200
        words = ["token", "revoke", "alice", "--name", "lost laptop", "--data-dir"]
        place = str(running.hub.settings.data_dir)
        subprocess.run([sys.executable, "-m", "fin_qlora_hub", *words, place], check=True)
        assert http.get("/api/whoami-v2").status_code == 401
    assert known.recall(token) is None
    with pytest.raises(InvalidTokenError):
        known.look_up(token)


@pytest.mark.sqlite
def test_a_token_ends_while_it_is_remembered(running) -> None:
    now = [datetime.now(UTC)]
    known = KnownCallers(
        running.hub.database, watch(running.hub.settings.database_path), now=lambda: now[0]
    )
    token = new_token(running, "short", expires_at=now[0] + timedelta(hours=1))
    known.look_up(token)
    assert known.recall(token) is not None
    now[0] += timedelta(hours=1)
    assert known.recall(token) is None


@pytest.mark.sqlite
def test_a_change_during_the_look_up_is_not_missed(running, monkeypatch) -> None:
    """The token is revoked after it was read and before it is remembered."""
    token = new_token(running, "race")
    version = watch(running.hub.settings.database_path)
    known = KnownCallers(running.hub.database, version)
    from fin_qlora_hub.access import authentication

    real = authentication.authenticate

    def slow(session, secret):
        caller = real(session, secret)
        with running.hub.database.writing() as writing:
            revoke_token(writing, "alice", name="race")
        return caller

    monkeypatch.setattr(authentication, "authenticate", slow)
    known.look_up(token)
    assert known.recall(token) is None


@pytest.mark.sqlite
def test_without_a_watch_nothing_is_remembered(running) -> None:
    known = KnownCallers(running.hub.database, watch("postgresql://somewhere"))
    known.look_up(running.tokens["alice"])
    assert known.recall(running.tokens["alice"]) is None


@pytest.mark.sqlite
def test_what_is_remembered_has_an_end(running, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.access.authentication.MAX_REMEMBERED", 2)
    known = KnownCallers(running.hub.database, watch(running.hub.settings.database_path))
    for caller in ("alice", "bob", "carol"):
        known.look_up(running.tokens[caller])
    assert known.recall(running.tokens["carol"]) is not None
    assert known.recall(running.tokens["alice"]) is None


@pytest.mark.sqlite
def test_the_watch_sees_every_change(tmp_path) -> None:
    path = tmp_path / "x"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE t (n)")
        look = watch(path)
        seen = {look()}
        assert look() in seen
        for number in range(3):
            database.execute("INSERT INTO t VALUES (?)", (number,))
            assert look() not in seen
            seen.add(look())


def test_when_a_token_was_last_used(running) -> None:
    """To the hour, and nobody waits for it."""
    now = [datetime.now(UTC)]
    uses = TokenUses(running.hub.database, now=lambda: now[0])
    token = new_token(running, "watched")

    def last_used() -> datetime | None:
        with running.hub.database.reading() as session:
            return session.scalar(select(Token.last_used_at).filter_by(name="watched"))

    def use() -> None:
        with running.hub.database.reading() as session:
            uses.note(authenticate(session, token))

    use()
    assert last_used() is None
    uses.flush()
    first = last_used()
    assert first == now[0]
    now[0] += timedelta(minutes=59)
    use()
    uses.flush()
    assert last_used() == first
    now[0] += timedelta(minutes=1)
    use()
    uses.close()
    assert last_used() == now[0]


def test_a_request_is_a_use(running, monkeypatch) -> None:
    monkeypatch.setattr(running.hub.token_uses, "_pending", {})
    monkeypatch.setattr(running.hub.token_uses, "_noted", {})
    token = new_token(running, "requesting")
    with running.http("anonymous") as http:
        http.headers["Authorization"] = f"Bearer {token}"
        assert http.get("/api/whoami-v2").status_code == 200
    noted = running.hub.token_uses._pending
    with running.hub.database.reading() as session:
        assert session.scalar(select(Token.id).filter_by(name="requesting")) in noted
