"""Git LFS for clients without Xet, through the hub: whole files, in parts, and what is refused.

What goes past it is in `test_direct`.
"""

import hashlib
import random
from pathlib import Path

import pytest
from contents import contents_of

from fin_qlora_hub.access import signing
from fin_qlora_hub.care.collecting import collect
from fin_qlora_hub.errors import BadRequestError


def some_bytes(size: int, *, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def announced(data: bytes, *transfers: str, **lies: object) -> dict[str, object]:
    sha256 = hashlib.sha256(data).hexdigest()
    return {
        "operation": "upload",
        "transfers": list(transfers) or ["basic", "multipart"],
        "objects": [{"oid": sha256, "size": len(data)}],
        "hash_algo": "sha256",
        **lies,
    }


def batch(http, name: str, data: bytes, *transfers: str, **lies: object):
    body = announced(data, *transfers, **lies)
    return http.post(f"/{name}.git/info/lfs/objects/batch", json=body)


@pytest.fixture(scope="module")
def running(open_a_hub, tmp_path_factory):
    """One hub for the tests of this module: clients send to it and to nothing else."""
    folder = tmp_path_factory.mktemp("lfs") / "data"
    with open_a_hub(folder, presigned_transfer=False) as hub:
        yield hub


@pytest.fixture
def stranger(running):
    with running.http("anonymous") as http:
        yield http


@pytest.fixture
def http(running):
    with running.http() as http:
        yield http


def test_a_whole_file(http, stranger, repository, running) -> None:
    data = some_bytes(10_000)
    answer = batch(http, repository, data)
    assert answer.headers["content-type"] == "application/vnd.git-lfs+json"
    planned = answer.json()
    assert planned["transfer"] == "basic"
    actions = planned["objects"][0]["actions"]
    verify = actions["verify"]["href"]
    proof = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert http.post(verify, json=proof).status_code == 404
    assert stranger.put(actions["upload"]["href"], content=data).status_code == 200
    assert http.post(verify, json=proof).status_code == 200
    assert http.post(verify, json={**proof, "size": 1}).status_code == 404
    assert stranger.post(verify, json=proof).status_code == 401
    assert "actions" not in batch(http, repository, data).json()["objects"][0]
    # sent again, because the answer was lost
    assert stranger.put(actions["upload"]["href"], content=data).status_code == 200


def test_what_is_not_what_was_announced(http, stranger, repository, running) -> None:
    data = some_bytes(10_000, seed=2)
    contents = contents_of(running.hub.settings)
    before = contents.everything()
    href = batch(http, repository, data).json()["objects"][0]["actions"]["upload"]["href"]
    for wrong, status in [
        (data[:-1], 400),
        (data + b"x", 413),
        (b"x" * 10_000, 400),
        (b"", 400),
    ]:
        assert stranger.put(href, content=wrong).status_code == status
        assert stranger.put(href, content=iter([wrong])).status_code == status
    assert contents.everything() == before
    assert "actions" in batch(http, repository, data).json()["objects"][0]


def test_addresses_cannot_be_forged(http, stranger, repository, monkeypatch) -> None:
    data = some_bytes(100, seed=3)
    href = batch(http, repository, data).json()["objects"][0]["actions"]["upload"]["href"]
    claims, mac = href.split("grant=")[1].split(".")
    for forged in (
        f"{claims}.{mac[:-2]}AA",
        f"{'f' + claims[1:]}.{mac}",
        "nonsense",
        "",
        "a" * 10_000,
    ):
        answer = stranger.put(f"/lfs/upload?grant={forged}", content=data)
        assert 400 <= answer.status_code < 500
    part = href.replace("/upload?", "/part?")
    assert stranger.put(part, content=data).status_code == 403
    monkeypatch.setattr(signing.time, "time", lambda: 10.0**11)
    assert stranger.put(href, content=data).status_code == 403


@pytest.mark.parametrize(
    ("caller", "status"), [("anonymous", 401), ("carol", 404), ("alice-read", 403)]
)
def test_who_may_not(running, shared, caller, status) -> None:
    with running.http(caller) as http:
        assert batch(http, shared, b"x").status_code == status
        proof = {"oid": "0" * 64, "size": 1}
        answer = http.post(f"/{shared}.git/info/lfs/objects/verify", json=proof)
        assert answer.status_code == status


def test_a_lost_role_ends_an_address(start_hub, tmp_path) -> None:
    from fin_qlora_hub.access.identity import revoke

    running = start_hub(tmp_path / "data", presigned_transfer=False)
    with running as hub, hub.http("walter") as http:
        hub.api().create_repo("desk/a")
        planned = batch(http, "desk/a", b"x").json()["objects"][0]
        with hub.hub.database.writing() as session:
            revoke(session, "desk", "walter")
        answer = http.put(planned["actions"]["upload"]["href"], content=b"x")
        assert answer.status_code == 403


def test_another_tenant_is_not_told_what_is_there(http, running, repository, new_name) -> None:
    data = some_bytes(1000, seed=4)
    upload = batch(http, repository, data).json()["objects"][0]["actions"]["upload"]
    http.put(upload["href"], content=data)
    theirs = new_name("carol")
    running.api("carol").create_repo(theirs)
    with running.http("carol") as carol:
        planned = batch(carol, theirs, data).json()["objects"][0]
        assert "actions" in planned
        proof = {"oid": planned["oid"], "size": planned["size"]}
        assert carol.post(planned["actions"]["verify"]["href"], json=proof).status_code == 404
        assert carol.put(planned["actions"]["upload"]["href"], content=data).status_code == 200
        assert "actions" not in batch(carol, theirs, data).json()["objects"][0]


def test_limits_and_nonsense(start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", max_file_bytes=1000) as hub, hub.http() as http:
        hub.api().create_repo("alice/a")
        planned = batch(http, "alice/a", bytes(1001)).json()["objects"][0]
        assert planned["error"]["code"] == 422
        assert "1,000 bytes" in planned["error"]["message"]
        for lie in (
            {"operation": "download"},
            {"hash_algo": "md5"},
            {"objects": [{"oid": "x", "size": 1}]},
            {"objects": [{"oid": "0" * 64, "size": -1}]},
        ):
            assert batch(http, "alice/a", b"x", **lie).status_code == 400


def test_older_clients_with_xet_are_told_to_use_it(http, repository) -> None:
    planned = batch(http, repository, b"x", "basic", "multipart", "xet").json()
    assert planned["transfer"] == "xet"
    assert "actions" not in planned["objects"][0]


@pytest.fixture
def in_parts(start_hub, tmp_path):
    with start_hub(tmp_path / "data", lfs_part_bytes=1000, presigned_transfer=False) as hub:
        hub.api().create_repo("alice/a")
        yield hub


def test_a_file_in_parts(in_parts) -> None:
    data = some_bytes(3500, seed=5)
    with in_parts.http() as http, in_parts.http("anonymous") as stranger:
        planned = batch(http, "alice/a", data).json()
        assert planned["transfer"] == "multipart"
        upload = planned["objects"][0]["actions"]["upload"]
        header = upload["header"]
        assert (header.pop("chunk_size"), len(header)) == ("1000", 4)
        receipts = []
        for number, url in sorted((int(number), url) for number, url in header.items()):
            part = data[(number - 1) * 1000 : number * 1000]
            assert stranger.put(url, content=part + b"x").status_code == 413
            assert stranger.put(url, content=part[:-1]).status_code == 400
            answer = stranger.put(url, content=part)
            receipts.append({"partNumber": number, "etag": answer.headers["etag"]})
        oid = hashlib.sha256(data).hexdigest()
        for parts in (receipts[:3], [*receipts[:3], {**receipts[3], "etag": '"x"'}], []):
            answer = stranger.post(upload["href"], json={"oid": oid, "parts": parts})
            assert answer.status_code == 400
        for _ in range(2):  # the second time the answer to the first was lost
            answer = stranger.post(upload["href"], json={"oid": oid, "parts": receipts})
            assert answer.status_code == 200, answer.text
    assert not [path for path in in_parts.hub.settings.parts_path.rglob("*") if path.is_file()]
    assert in_parts.hub.blobs.holds(oid)


def test_wrong_parts_are_noticed_together(in_parts) -> None:
    data = some_bytes(1500, seed=6)
    with in_parts.http() as http:
        upload = batch(http, "alice/a", data).json()["objects"][0]["actions"]["upload"]
        for number, part in (("00001", data[:1000]), ("00002", b"x" * 500)):
            assert http.put(upload["header"][number], content=part).status_code == 200
        name = http.put(upload["header"]["00002"], content=b"x" * 500).headers["etag"][1:-3]
        oid = hashlib.sha256(data).hexdigest()
        parts = [{"partNumber": n, "etag": f"{name}-{n}"} for n in (1, 2)]
        answer = http.post(upload["href"], json={"oid": oid, "parts": parts})
        assert answer.status_code == 400
        assert "were announced" in answer.json()["error"]
        again = http.post(upload["href"], json={"oid": oid, "parts": parts})
        assert "has not arrived" in again.json()["error"]
    assert not in_parts.hub.blobs.holds(oid)


PUSH = """
import sys
from huggingface_hub import upload_file, hf_hub_download
name, source = sys.argv[1:]
upload_file(path_or_fileobj=source, path_in_repo="w.bin", repo_id=name)
print(hf_hub_download(name, "w.bin"))
"""


def test_the_client_sends_parts(in_parts, run_python, tmp_path) -> None:
    data = some_bytes(4321, seed=7)
    (tmp_path / "w").write_bytes(data)
    env = {**in_parts.environment(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    done = run_python("-c", PUSH, "alice/a", str(tmp_path / "w"), env=env)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == data
    assert in_parts.hub.blobs.holds(hashlib.sha256(data).hexdigest())


@pytest.mark.disk
def test_parts_that_nobody_waits_for_are_swept(in_parts, monkeypatch) -> None:
    store = in_parts.hub.parts
    part = store.receive(3)
    part.write(b"abc")
    store.keep(part, "upload", 1)
    lost = store.receive(3)
    lost.close()
    assert store.sweep() == 1
    assert b"".join(store.joined("upload", 1)) == b"abc"
    collect(in_parts.hub)
    assert b"".join(store.joined("upload", 1)) == b"abc"
    monkeypatch.setattr("fin_qlora_hub.stores.parts.PATIENCE_SECONDS", -1)
    receiving = store.receive(3)
    collect(in_parts.hub)  # while a server runs: what is being received stays
    with pytest.raises(BadRequestError):
        store.joined("upload", 1)
    assert receiving.path.is_file()
    receiving.close()
    assert store.sweep() == 1


def test_an_address_for_a_whole_file_completes_no_parts(http, stranger, repository) -> None:
    data = some_bytes(100, seed=10)
    planned = batch(http, repository, data).json()["objects"][0]
    address = planned["actions"]["upload"]["href"].replace("/lfs/upload", "/lfs/complete")
    answer = stranger.post(address, json={"oid": planned["oid"], "parts": []})
    assert answer.status_code == 403


def test_no_log_holds_an_address_that_is_good(http, stranger, repository, caplog) -> None:
    caplog.set_level("INFO", logger="uvicorn.access")
    data = some_bytes(100, seed=9)
    href = batch(http, repository, data).json()["objects"][0]["actions"]["upload"]["href"]
    stranger.put(href, content=data)
    assert "/lfs/upload?grant=..." in caplog.text
    assert href.split("grant=")[1] not in caplog.text


def test_only_files_may_be_as_large_as_files(running) -> None:
    with running.http("anonymous") as http:
        answer = http.post("/lfs/complete?grant=x", content=b"{" + b" " * 9_000_000)
        assert answer.status_code == 413
