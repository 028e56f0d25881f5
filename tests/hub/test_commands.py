"""What an administrator types, and how the server starts and stops."""

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from waiting import wait_until

from fin_qlora_hub import __version__, migrations
from fin_qlora_hub.metadata.database import open_database
from fin_qlora_hub.metadata.schema import migrate
from fin_qlora_hub.metadata.tables import Base

NEWEST = max(
    path.name[1:5] for path in (Path(migrations.__file__).parent / "versions").glob("r[0-9]*.py")
)


def test_the_module_is_the_program(run_python) -> None:
    done = run_python("-m", "fin_qlora_hub", "version", env=dict(os.environ))
    assert done.stdout == f"{__version__}\n"


def test_from_nothing_to_a_token(command) -> None:
    made = command("init", "--format", "json")
    assert json.loads(made.stdout)["schema"] == NEWEST
    assert made.stderr == ""
    assert command("init").returncode == 0
    assert command("user", "add", "alice", "--format", "quiet").stdout == "alice\n"
    assert command("user", "add", "bob").returncode == 0
    assert command("org", "add", "desk", "--owner", "alice").returncode == 0
    granted = command("org", "grant", "desk", "bob", "--role", "write", "--format", "json")
    assert json.loads(granted.stdout) == {"organization": "desk", "user": "bob", "role": "write"}
    assert command("org", "revoke", "desk", "bob").returncode == 0
    quiet = command("token", "create", "alice", "--name", "a", "--role", "write", "--format=quiet")
    assert quiet.stdout.startswith("fqh_")
    assert quiet.stdout.count("\n") == 1
    shown = command("token", "create", "alice", "--name", "b", "--days", "3", "--format", "json")
    assert json.loads(shown.stdout)["role"] == "read"
    assert command("token", "revoke", "alice", "--name", "b").returncode == 0


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("FIN_QLORA_HUB_S3_REGION", "!", "FIN_QLORA_HUB_S3_REGION: String should"),
        ("AWS_REGION", "!", "FIN_QLORA_HUB_S3_REGION: String should"),
        ("FIN_QLORA_HUB_MAX_UPLOADS", "x", "FIN_QLORA_HUB_MAX_UPLOADS: Input should"),
        ("FIN_QLORA_HUB_DATABASE_URL", "mysql://", "FIN_QLORA_HUB_DATABASE_URL: it must begin"),
        ("FIN_QLORA_HUB_MIRROR_ALLOW", "lab/x", "FIN_QLORA_HUB_MIRROR_ALLOW needs"),
        ("FIN_QLORA_HUB_S3_ACCESS_KEY_ID", "k", "FIN_QLORA_HUB_S3_ACCESS_KEY_ID and"),
    ],
)
def test_settings_that_cannot_be(command, monkeypatch, variable, value, complaint) -> None:
    monkeypatch.setenv(variable, value)
    refused = command("init")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"fin-qlora-hub: {complaint}")
    assert refused.stderr.count("\n") == 1


def test_lists_for_those_who_review_access(command) -> None:
    command("init")
    command("user", "add", "bob", "--full-name", "Bob B", "--email", "bob@bank.example")
    command("user", "add", "alice")
    command("org", "add", "desk", "--owner", "alice")
    command("org", "grant", "desk", "bob", "--role", "read")
    assert command("user", "list", "--format", "quiet").stdout == "alice\nbob\n"
    second = json.loads(command("user", "list", "--format", "json").stdout.splitlines()[1])
    assert second == {"user": "bob", "full_name": "Bob B", "email": "bob@bank.example"}
    assert command("org", "list").stdout == "desk  alice  admin\ndesk  bob  read\n"
    usage = json.loads(command("quota", "list", "--format", "json").stdout.splitlines()[0])
    assert usage == {"namespace": "alice", "stored": 0, "reserved": 0, "quota": "unlimited"}


def test_all_tokens_of_a_user_who_leaves(command) -> None:
    command("init")
    for name in ("alice", "bob"):
        command("user", "add", name)
        command("token", "create", name, "--name", "a", "--only", "desk")
    command("token", "create", "bob", "--name", "b")
    assert command("token", "revoke", "bob").returncode == 2
    assert command("token", "revoke", "bob", "--all", "--name", "a").returncode == 2
    assert command("token", "list", "--format", "quiet").stdout == "alice a\nbob a\nbob b\n"
    gone = command("token", "revoke", "bob", "--all", "--format", "json")
    assert json.loads(gone.stdout) == {"user": "bob", "revoked": 2}
    left = json.loads(command("token", "list", "--format", "json").stdout)
    assert (left["user"], left["only"]) == ("alice", ["desk"])
    record = command("audit", "list", "--format", "json").stdout
    assert record.count('"token.revoked"') == 2


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["user", "add", "x"], 4, "run `fin-qlora-hub init"),
        (["serve", "--port", "0"], 4, "run `fin-qlora-hub init"),
        (["serve", "--port", "many"], 2, "--port"),
        (["serve", "--color"], 2, "No such option"),
        (["token", "create", "x", "--name", "n", "--role", "admin"], 2, "admin"),
    ],
)
def test_mistakes_before_init(command, arguments, code, complaint, tmp_path) -> None:
    refused = command(*arguments)
    assert (refused.returncode, refused.stdout) == (code, "")
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "data").exists()


def test_mistakes_after_init(command, monkeypatch) -> None:
    command("init")
    command("user", "add", "alice")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, code, complaint in [
            (["user", "add", "alice"], 5, "already exists"),
            (["user", "add", "Alice"], 5, "already exists"),
            (["user", "add", "api"], 2, "reserved"),
            (["user", "add", "a/b"], 2, "not allowed"),
            (["org", "add", "desk", "--owner", "nobody"], 5, "no user 'nobody'"),
            (["token", "revoke", "alice", "--name", "n"], 5, "no token named 'n'"),
            (["serve", "--port", port], 4, "choose another"),
            (["serve", "--port", "99999"], 4, "choose another"),
        ]:
            refused = command(*arguments)
            assert refused.returncode == code, refused.stderr
            assert complaint in refused.stderr
            assert refused.stderr.count("\n") == 1
    monkeypatch.setenv("FIN_QLORA_HUB_MAX_FILE_BYTES", "much")
    wrong = command("user", "add", "bob")
    assert wrong.returncode == 2
    assert "FIN_QLORA_HUB_MAX_FILE_BYTES" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--name", "n", "--days", "9999999"], "--days"),
        (["--name", "n", "--days", "0"], "--days"),
        (["--name", ""], "Token name ''"),
        (["--name", "  "], "Token name"),
        (["--name", "a\nb"], "Token name"),
        (["--name", "x" * 5000], "Token name"),
    ],
)
def test_mistakes_about_tokens(command, arguments, complaint) -> None:
    command("init")
    command("user", "add", "alice")
    refused = command("token", "create", "alice", *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert complaint in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr) < 1000


@pytest.mark.sqlite
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_its_address_and_stops_in_order(command, tmp_path, number, served) -> None:
    command("init")
    with served(tmp_path / "data") as (process, url):
        with urllib.request.urlopen(f"{url}/healthz") as answer:
            assert json.load(answer) == {"status": "ok"}
        second = command("serve", "--port", "0")
        assert second.returncode == 4
        assert "already served" in second.stderr
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""


def test_killed_in_the_middle_of_a_commit(command, tmp_path, served) -> None:
    command("init")
    command("user", "add", "alice")
    token = command("token", "create", "alice", "--name", "t", "--role=write", "--format=quiet")
    secret = token.stdout.strip()
    incoming = tmp_path / "data" / "blobs" / "incoming"

    def ask(url: str, path: str, body: bytes | None = None):
        request = urllib.request.Request(url + path, data=body)
        request.add_header("Authorization", f"Bearer {secret}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    with served(tmp_path / "data") as (process, url):
        ask(url, "/api/repos/create", b'{"name": "a"}')
        before = ask(url, "/api/models/alice/a")
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                "POST /api/models/alice/a/commit/main HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {secret}\r\nContent-Length: 10000000\r\n\r\n"
                '{"key":"header","value":{"summary":"s"}}\n'
                '{"key":"file","value":{"path":"w","content":"'.encode()
                + b"QUJD" * 500_000
            )
            assert wait_until(lambda: list(incoming.iterdir()))
            assert len(list(incoming.iterdir())) == 1
            process.kill()
            process.wait(20)
    with served(tmp_path / "data") as (_, url):
        assert list(incoming.iterdir()) == []
        after = ask(url, "/api/models/alice/a")
        assert after == before


@pytest.mark.sqlite
def test_migrations_make_the_tables_that_the_code_declares(command, tmp_path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    command("init")
    engine = create_engine(f"sqlite:///{tmp_path}/data/hub.sqlite3")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()
    assert migrate(tmp_path / "data" / "hub.sqlite3") == NEWEST
    database = open_database(tmp_path / "data" / "hub.sqlite3")
    with database.reading() as session:
        mode = session.connection().exec_driver_sql("PRAGMA journal_mode").scalar()
        assert mode == "wal"
    database.close()
