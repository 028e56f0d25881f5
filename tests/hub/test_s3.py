"""Servers that share a PostgreSQL database and a bucket alone are one hub, and each may fail."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from contents import contents_of
from faulty_proxy import FaultyProxy
from huggingface_hub import CommitOperationAdd

from fin_qlora_hub.care.backup import back_up
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.collecting import Collected, collect
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.settings import Settings

WEIGHTS = random.Random(61).randbytes(2_500_000)
# What users do; each step is one of the stock client's.
WORK = """
import sys
from pathlib import Path
from huggingface_hub import HfApi, snapshot_download
name, folder = sys.argv[1:]
api = HfApi()
api.create_repo(name)
api.upload_folder(repo_id=name, folder_path=folder)
for number in range(6):
    api.upload_file(path_or_fileobj=b"%d" % number, path_in_repo=f"n/{number}", repo_id=name)
api.create_tag(name, tag="v1")
there = Path(snapshot_download(name, revision="v1"))
for path in Path(folder).iterdir():
    assert (there / path.name).read_bytes() == path.read_bytes(), path
print(sorted(api.list_repo_files(name)))
"""


@pytest.fixture
def server(postgresql, moto, tmp_path, start_hub):
    """Start a server with a disk of its own: `server("one", **options)`."""
    url, bucket = postgresql.new_database(), moto.new_bucket()

    def start(name: str, **options: object):
        where = {**moto.settings(bucket), "database_url": url, **options}
        return start_hub(tmp_path / name / "data", **where)

    return start


@pytest.fixture
def two(server):
    """Two servers of one hub, on two machines."""
    with server("one") as one, server("other", tokens=one.tokens) as other:
        for hub in (one, other):
            # FastAPI prepares a route when it is first looked at, and hushes a warning meanwhile
            # for the whole process: two servers in one must not do so at once.
            assert httpx.get(f"{hub.url}/there/is/no/such/place").status_code == 404
        yield one, other


@pytest.fixture
def work(run_python, tmp_path):
    """Do what users do, with the stock client in a process of its own."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text("{}")

    def run(hub, name: str, **environment: str) -> str:
        home = tmp_path / name.replace("/", "-")
        env = {**hub.environment(home), **environment}
        done = run_python("-c", WORK, name, str(folder), env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def whole(hub) -> bool:
    return list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_what_comes_to_one_is_read_at_the_other(two, tmp_path) -> None:
    one, other = (hub.api() for hub in two)
    one.create_repo("desk/a")
    for here, there, name in ((one, other, "1.bin"), (other, one, "2.bin")):
        data = WEIGHTS + name.encode()
        here.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id="desk/a")
        found = there.hf_hub_download("desk/a", name, cache_dir=tmp_path / name)
        assert Path(found).read_bytes() == data
    assert whole(two[0])
    assert whole(two[1])


def test_an_upload_in_parts_may_go_to_both(server) -> None:
    import hashlib

    options = {"lfs_part_bytes": 1_000_000, "presigned_transfer": False}
    with server("one", **options) as one, server("other", tokens=one.tokens, **options) as other:
        one.api().create_repo("alice/a")
        oid = hashlib.sha256(WEIGHTS).hexdigest()
        asked = {"operation": "upload", "transfers": ["multipart"]}
        asked["objects"] = [{"oid": oid, "size": len(WEIGHTS)}]
        with one.http() as http:
            answer = http.post("/alice/a.git/info/lfs/objects/batch", json=asked).json()
        upload = answer["objects"][0]["actions"]["upload"]
        receipts = []
        for number in (1, 2, 3):
            hub = (one, other)[number % 2]
            address = upload["header"][f"{number:05}"].replace(one.url, hub.url)
            sent = httpx.put(address, content=WEIGHTS[(number - 1) * 10**6 : number * 10**6])
            receipts.append({"partNumber": number, "etag": sent.headers["ETag"]})
        address = upload["href"].replace(one.url, other.url)
        done = httpx.post(address, json={"oid": oid, "parts": receipts}, timeout=30)
        assert done.status_code == 200, done.text
        assert one.hub.blobs.holds(oid)
        assert whole(one)


def test_no_commit_of_32_clients_is_lost(two) -> None:
    two[0].api().create_repo("desk/a")
    body = (
        '{"key":"header","value":{"summary":"%d"}}\n'
        '{"key":"file","value":{"path":"f%d","content":"MQ==","encoding":"base64"}}\n'
    )

    def commit(client: int) -> list[str]:
        made = []
        with two[client % 2].http() as http:
            for number in range(client * 3, client * 3 + 3):
                address = "/api/models/desk/a/commit/main"
                answer = http.post(address, content=body % (number, number))
                assert answer.status_code == 200, answer.text
                made.append(answer.json()["commitOid"])
        return made

    with ThreadPoolExecutor(32) as pool:
        oids = [oid for made in pool.map(commit, range(32)) for oid in made]
    assert len(set(oids)) == 96
    for hub in two:
        history = {made.commit_id for made in hub.api().list_repo_commits("desk/a")}
        assert history >= set(oids)
        assert len(history) == 97
        assert len(hub.api().list_repo_files("desk/a")) == 97
    assert list(check(two[0].hub)) == []


def test_nothing_is_collected_at_one_during_a_backup_at_the_other(two, monkeypatch) -> None:
    one, other = two
    inside, done = threading.Event(), threading.Event()
    other.api().create_repo("desk/a")
    write = "fin_qlora_hub.care.backup.write_rows"
    import fin_qlora_hub.care.backup as module

    original = module.write_rows

    def slow(*arguments: object):
        inside.set()
        assert not done.wait(0.5)  # the collection waits for the backup
        return original(*arguments)

    monkeypatch.setattr(write, slow)

    def gc() -> None:
        inside.wait(20)
        collect(other.hub)
        done.set()

    with ThreadPoolExecutor(1) as pool:
        collected = pool.submit(gc)
        made = back_up(one.hub, one.hub.settings.data_dir.parent / "backup")
        collected.result(30)
    assert made.findings == ()


def test_what_arrives_at_one_while_the_other_collects_stays(two) -> None:
    one, other = two
    apis = [hub.api() for hub in two]
    apis[0].create_repo("desk/a")
    apis[0].upload_file(path_or_fileobj=b"again", path_in_repo="f", repo_id="desk/a")
    apis[0].delete_repo("desk/a")
    contents = contents_of(one.hub.settings)
    done = threading.Event()

    def collecting() -> None:
        while not done.is_set():
            contents.age(23)  # whatever is there looks as if it came long ago
            collect(other.hub)

    collector = threading.Thread(target=collecting)
    collector.start()
    try:
        for number in range(8):
            name = f"desk/b{number}"
            apis[0].create_repo(name)
            operation = CommitOperationAdd("f", b"again")
            apis[0].create_commit(name, [operation], commit_message="c")
            if number % 2:
                apis[1].delete_repo(name)
    finally:
        done.set()
        collector.join()
    assert list(check(one.hub)) == list(scrub(other.hub)) == []


@pytest.mark.parametrize("without_xet", ["0", "1"])
def test_a_store_that_fails_one_call_in_ten_is_not_noticed(server, moto, work, without_xet) -> None:
    with (
        FaultyProxy(moto.port, seed=3) as proxy,
        server("one", s3_endpoint=proxy.url, s3_public_endpoint=moto.url) as hub,
    ):
        proxy.fail(one_in=10)
        work(hub, "alice/a", HF_HUB_DISABLE_XET=without_xet)
        work(hub, "desk/a", HF_HUB_DISABLE_XET=without_xet)
        assert whole(hub)
        assert {failure.partition(":")[0] for failure in proxy.failed} >= {"500", "503", "lost"}
        assert len(proxy.failed) > 8


def test_the_store_is_gone_and_comes_back(server, moto, work) -> None:
    with (
        FaultyProxy(moto.port) as proxy,
        server("one", s3_endpoint=proxy.url, s3_retry_seconds=0.5) as hub,
        hub.http() as http,
    ):
        hub.api().create_repo("alice/a")
        hub.api().upload_file(path_or_fileobj=b"x", path_in_repo="f", repo_id="alice/a")
        body = (
            '{"key":"header","value":{"summary":"s"}}\n'
            '{"key":"file","value":{"path":"g","content":"MQ==","encoding":"base64"}}\n'
        )
        proxy.out()
        refused = [
            http.get("/alice/a/resolve/main/f"),
            http.post("/api/models/alice/a/commit/main", content=body),
        ]
        for answer in refused:
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            assert "127.0.0.1" not in answer.text
        # what needs no content goes on
        assert http.get("/healthz").status_code == 200
        assert http.get("/api/models/alice/a").status_code == 200
        assert http.get("/api/models/alice/a/tree/main").status_code == 200
        proxy.back()
        assert http.get("/alice/a/resolve/main/f").content == b"x"
        assert http.post("/api/models/alice/a/commit/main", content=body).status_code == 200
        work(hub, "desk/a")
        assert whole(hub)


def test_what_is_told_of_contents_asks_the_store_for_nothing(server, moto) -> None:
    with FaultyProxy(moto.port) as proxy, server("one", s3_endpoint=proxy.url) as hub:
        api = hub.api()
        api.create_repo("alice/a")
        api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="w.bin", repo_id="alice/a")
        before = list(proxy.calls)
        api.model_info("alice/a", files_metadata=True)
        list(api.list_models(author="alice"))
        api.get_paths_info("alice/a", ["w.bin"])
        list(api.list_repo_tree("alice/a"))
        with hub.http() as http:
            assert http.head("/alice/a/resolve/main/w.bin").status_code == 200
        assert proxy.calls == before


def test_the_database_ends_connections_and_nobody_notices(two, postgresql) -> None:
    one, _ = two
    api = one.api()
    api.create_repo("desk/a")
    url = one.hub.settings.database_url.get_secret_value()
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for number in range(4):
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute(end).fetchone()[0] > 0
        with two[number % 2].http() as http:
            answers = [http.get("/api/models/desk/a").status_code for _ in range(2)]
            assert answers == [200, 200]
        operation = CommitOperationAdd(f"f{number}", b"x")
        api.create_commit("desk/a", [operation], commit_message=f"{number}")
    assert len(api.list_repo_files("desk/a")) == 5
    assert whole(one)


def test_a_new_server_needs_nothing_but_the_database_and_the_bucket(two, tmp_path) -> None:
    api = two[0].api()
    api.create_repo("desk/a")
    api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="w.bin", repo_id="desk/a")
    given = two[0].hub.settings.model_dump(exclude_unset=True) | {"data_dir": tmp_path / "third"}
    given["data_dir"].mkdir(mode=0o700)
    with open_hub(Settings(**given)) as third:
        assert list(check(third)) == list(scrub(third)) == []
        assert collect(third) == Collected()
