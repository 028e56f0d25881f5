"""Killed at any step, the hub starts again with nothing half-visible, and the upload can go on."""

import base64
import hashlib
import json
import random
import subprocess
import sys
from contextlib import contextmanager, suppress

import httpx
import pytest
from contents import contents_of
from sqlalchemy import update
from waiting import wait_until
from webhook_receiver import receiving

from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.tables import WebhookDelivery
from fin_qlora_hub.settings import Settings

# Starts the server; once the file `armed` is there, one function kills the process.
KILLER = """
import functools, importlib, os, signal, sys
from pathlib import Path
target, moment, armed = sys.argv[1:4]
module, _, path = target.partition(":")
owner = importlib.import_module(module)
*parents, name = path.split(".")
for parent in parents:
    owner = getattr(owner, parent)
original = getattr(owner, name)

@functools.wraps(original)
def deadly(*arguments, **named):
    if not Path(armed).exists():
        return original(*arguments, **named)
    if moment == "after":
        original(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(owner, name, deadly)
from fin_qlora_hub.cli import main
sys.argv = ["fin-qlora-hub", "serve", "--port", "0", "--format", "json"]
main()
"""
DISK = "fin_qlora_hub.stores.disk"
SQL = "sqlalchemy.engine.base:Connection._commit_impl"
BUCKET = "fin_qlora_hub.stores.bucket:Bucket"
ON_DISK, ON_S3 = pytest.mark.disk, pytest.mark.s3
COMMIT = [
    (f"{DISK}:append", "after"),
    pytest.param(f"{DISK}:IncomingFile.finish", "before", marks=ON_DISK),
    pytest.param(f"{DISK}:IncomingFile.finish", "after", marks=ON_DISK),
    pytest.param(f"{DISK}:sync_folder", "before", marks=ON_DISK),
    pytest.param(f"{DISK}:sync_folder", "after", marks=ON_DISK),
    pytest.param(f"{DISK}:IncomingFile.close", "after", marks=ON_S3),
    pytest.param(f"{BUCKET}.put", "before", marks=ON_S3),
    pytest.param(f"{BUCKET}.put", "after", marks=ON_S3),
    pytest.param(f"{BUCKET}.put_all", "after", marks=ON_S3),
    ("fin_qlora_hub.repositories.commits:store_tree", "after"),
    ("fin_qlora_hub.repositories.commits:record", "after"),
    ("fin_qlora_hub.repositories.committing:carry_out", "after"),
    (SQL, "before"),
    (SQL, "after"),
]
XORB = [
    pytest.param(f"{DISK}:IncomingFile.finish", "after", marks=ON_DISK),
    pytest.param(f"{DISK}:put_in_place", "after", marks=ON_DISK),
    pytest.param(f"{BUCKET}.put", "before", marks=ON_S3),
    pytest.param(f"{BUCKET}.put", "after", marks=ON_S3),
    ("fin_qlora_hub.routes.xet.xorbs:keep_xorb", "after"),
    (SQL, "before"),
    (SQL, "after"),
]
SHARD = [
    (f"{DISK}:IncomingFile.close", "after"),
    ("fin_qlora_hub.xet.registering:_verified", "after"),
    ("fin_qlora_hub.xet.registering:_register", "before"),
    ("fin_qlora_hub.xet.registering:_register", "after"),
    (SQL, "before"),
    (SQL, "after"),
]


@contextmanager
def started(*arguments: str):
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


@pytest.fixture
def data_dir(command, tmp_path):
    command("init")
    command("user", "add", "alice")
    return tmp_path / "data"


@pytest.fixture
def http(command, data_dir):
    words = ("token", "create", "alice", "--name", "t", "--role=write", "--format=quiet")
    headers = {"Authorization": f"Bearer {command(*words).stdout.strip()}"}
    with httpx.Client(headers=headers, timeout=30) as client:
        yield client


def chunk_store(http: httpx.Client, url: str) -> tuple[str, dict[str, str]]:
    given = http.get(f"{url}/api/models/alice/a/xet-write-token/main").json()
    return given["casUrl"], {"Authorization": f"Bearer {given['accessToken']}"}


def commit(http: httpx.Client, url: str, *lines: dict) -> httpx.Response:
    body = [{"key": "header", "value": {"summary": "s"}}, *lines]
    content = "".join(json.dumps(line) + "\n" for line in body).encode()
    return http.post(f"{url}/api/models/alice/a/commit/main", content=content)


def crash(http, tmp_path, target: str, moment: str, *, prepare, act) -> None:
    """Prepare, arm, act: the server dies on the way."""
    armed = tmp_path / "armed"
    with started("-c", KILLER, target, moment, str(armed)) as (process, url):
        http.post(f"{url}/api/repos/create", json={"name": "a"})
        prepare(url)
        armed.touch()
        with suppress(httpx.HTTPError):
            act(url)
        assert process.wait(20) == -9
    armed.unlink()


@pytest.mark.parametrize(("target", "moment"), COMMIT)
def test_a_commit(http, command, data_dir, tmp_path, target, moment) -> None:
    text = base64.b64encode(b"content").decode()
    lines = [
        {"key": "file", "value": {"path": path, "content": text, "encoding": "base64"}}
        for path in ("a", "b/c", "README.md")
    ]
    crash(
        *(http, tmp_path, target, moment),
        prepare=lambda _url: None,
        act=lambda url: commit(http, url, *lines),
    )
    assert command("fsck").returncode == 0
    happened = (target, moment) == (SQL, "after")
    on_record = command("audit", "list", "--act", "branch.committed", "--format=quiet").stdout
    assert len(on_record.split()) == happened
    with started("-m", "fin_qlora_hub", "serve", "--port", "0", "--format", "json") as (_, url):
        tree = f"{url}/api/models/alice/a/tree/main"
        paths = {item["path"] for item in http.get(tree).json()}
        assert paths == (
            {".gitattributes", "a", "b", "README.md"} if happened else {".gitattributes"}
        )
        assert not contents_of(Settings()).arriving()
        assert commit(http, url, *lines).status_code == 200
        assert len(http.get(f"{url}/api/models/alice/a/commits/main").json()) == 2
        assert http.get(f"{url}/alice/a/resolve/main/b/c").content == b"content"
    assert command("fsck").returncode == command("scrub").returncode == 0
    assert command("audit", "verify").returncode == 0


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("act", ["move", "delete", "protect"])
def test_what_is_said_of_a_repository(http, command, tmp_path, act, moment) -> None:
    """Moved, removed or protected, it is so wholly: with its former name, and on record."""
    requests = {
        "move": ("POST", "repos/move", {"fromRepo": "alice/a", "toRepo": "alice/b"}),
        "delete": ("DELETE", "repos/delete", {"name": "a"}),
        "protect": ("POST", "models/alice/a/protected/main", None),
    }
    method, path, body = requests[act]

    def send(url: str) -> None:
        http.request(method, f"{url}/api/{path}", json=body)

    crash(*(http, tmp_path, SQL, moment), prepare=lambda _url: None, act=send)
    assert command("fsck").returncode == command("audit", "verify").returncode == 0
    happened = moment == "after"
    told = command("audit", "list", "--format=json").stdout
    names = {"move": "repository.moved", "delete": "repository.deleted"}
    assert (f'"{names.get(act, "reference.protected")}"' in told) == happened
    assert (command("free-name", "alice/a").returncode == 0) == (happened and act != "protect")
    kept = command("protected", "alice/a", "--format=quiet").stdout
    assert kept == ("refs/heads/main\n" if happened and act == "protect" else "")


@pytest.mark.parametrize(("target", "moment"), XORB)
def test_a_xorb(http, command, data_dir, tmp_path, maker, target, moment) -> None:
    data = random.Random(1).randbytes(25_000)
    name, body = maker.xorb(data)

    def send(url: str) -> httpx.Response:
        store, headers = chunk_store(http, url)
        return http.post(f"{store}/v1/xorbs/default/{name}", content=body, headers=headers)

    crash(*(http, tmp_path, target, moment), prepare=lambda _url: None, act=send)
    assert command("fsck").returncode == command("scrub").returncode == 0
    with started("-m", "fin_qlora_hub", "serve", "--port", "0", "--format", "json") as (_, url):
        assert not contents_of(Settings()).arriving()
        inserted = send(url).json()["was_inserted"]
        assert inserted == ((target, moment) != (SQL, "after"))
    assert command("fsck").returncode == command("scrub").returncode == 0


@pytest.mark.parametrize(("target", "moment"), SHARD)
def test_a_shard(http, command, data_dir, tmp_path, maker, target, moment) -> None:
    files = [random.Random(seed).randbytes(15_000) for seed in (1, 2)]
    shard = maker.shard(*map(maker.file, files))

    def send_xorbs(url: str) -> None:
        store, headers = chunk_store(http, url)
        for data in files:
            name, body = maker.xorb(data)
            http.post(f"{store}/v1/xorbs/default/{name}", content=body, headers=headers)

    def send_shard(url: str) -> httpx.Response:
        store, headers = chunk_store(http, url)
        return http.post(f"{store}/v1/shards", content=shard, headers=headers)

    crash(*(http, tmp_path, target, moment), prepare=send_xorbs, act=send_shard)
    assert command("fsck").returncode == 0
    with started("-m", "fin_qlora_hub", "serve", "--port", "0", "--format", "json") as (_, url):
        happened = (target, moment) == (SQL, "after")
        store, headers = chunk_store(http, url)
        for data in files:  # both or none
            found = http.get(f"{store}/v2/reconstructions/{maker.file_hash(data)}", headers=headers)
            assert found.status_code == (200 if happened else 404)
        assert send_shard(url).json() == {"result": 0 if happened else 1}
        lines = [
            {"path": f"{n}.bin", "algo": "sha256", "oid": hashlib.sha256(data).hexdigest()}
            for n, data in enumerate(files)
        ]
        made = commit(http, url, *({"key": "lfsFile", "value": line} for line in lines))
        assert made.status_code == 200
        assert http.get(f"{url}/alice/a/resolve/main/1.bin").content == files[1]
    assert command("fsck").returncode == command("scrub").returncode == 0


@pytest.mark.parametrize(
    ("target", "moment"),
    [
        ("fin_qlora_hub.webhooks.delivering:spread", "after"),
        ("fin_qlora_hub.webhooks.delivering:lease", "after"),
        ("fin_qlora_hub.webhooks.delivering:send", "before"),
        ("fin_qlora_hub.webhooks.delivering:send", "after"),
        ("fin_qlora_hub.webhooks.delivering:settle", "after"),
    ],
)
def test_a_webhook(http, command, data_dir, tmp_path, monkeypatch, target, moment) -> None:
    """Whatever it was doing when it died, the place is told once more, or for the first time."""
    monkeypatch.setenv("FIN_QLORA_HUB_OUTGOING_NETWORKS", "127.0.0.0/8")
    with receiving() as receiver:
        watched = [{"type": "user", "name": "alice"}]
        hook = {"url": receiver.url, "watched": watched}
        crash(
            *(http, tmp_path, target, moment),
            prepare=lambda url: http.post(f"{url}/api/settings/webhooks", json=hook),
            act=lambda url: http.post(f"{url}/api/models/alice/a/tag/main", json={"tag": "v1"}),
        )
        sent = moment == "after" and target.endswith(("send", "settle"))
        assert len(receiver.came) == sent
        with open_hub(Settings()) as hub, hub.database.writing() as session:
            session.execute(update(WebhookDelivery).values(leased_until=None))  # a minute later
        with started("-m", "fin_qlora_hub", "serve", "--port", "0", "--format", "json"):
            assert wait_until(lambda: len(receiver.came) == sent + 1)
    assert {body["updatedRefs"][0]["ref"] for *_, body in receiver.came} == {"refs/tags/v1"}
