"""Bytes that go past the hub: only to whom it signed for, and no content before it is verified."""

import hashlib
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from throwaway_s3 import Swift

from fin_qlora_hub.access.identity import revoke
from fin_qlora_hub.care import collecting
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.collecting import collect
from fin_qlora_hub.stores import disk, parts
from fin_qlora_hub.stores.bucket import Bucket
from fin_qlora_hub.stores.presigning import Presigner

LARGE = random.Random(11).randbytes(3_000_000)
PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="w.bin", repo_id=sys.argv[1])
print(api.hf_hub_download(sys.argv[1], "w.bin", force_download=True))
"""


@pytest.fixture(scope="module")
def swift() -> Iterator[Swift]:
    """A server that checks signatures, and what they cover."""
    server = Swift()
    yield server
    server.remove()


@pytest.fixture(scope="module")
def hub(swift, open_a_hub, tmp_path_factory):
    """A hub whose clients fetch from the bucket and send to it."""
    options = {**swift.settings(swift.new_bucket()), "lfs_part_bytes": 1_000_000}
    with open_a_hub(tmp_path_factory.mktemp("direct") / "data", **options) as running:
        yield running


@pytest.fixture
def name(hub, new_name) -> str:
    made = new_name()
    hub.api().create_repo(made)
    return made


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def plan(hub, name: str, *contents: bytes, transfers=("basic",), caller="alice") -> list[dict]:
    objects = [{"oid": digest(data), "size": len(data)} for data in contents]
    body = {"operation": "upload", "transfers": transfers, "objects": objects}
    with hub.http(caller) as http:
        answer = http.post(f"/{name}.git/info/lfs/objects/batch", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["objects"]


def verify(hub, name: str, data: bytes, caller: str = "alice") -> httpx.Response:
    with hub.http(caller) as http:
        body = {"oid": digest(data), "size": len(data)}
        return http.post(f"/{name}.git/info/lfs/objects/verify", json=body)


def commit(hub, name: str, data: bytes, path: str = "w.bin") -> httpx.Response:
    file = {"path": path, "algo": "sha256", "oid": digest(data), "size": len(data)}
    lines = '{"key": "header", "value": {"summary": "s"}}\n{"key": "lfsFile", "value": %s}\n'
    with hub.http() as http:
        return http.post(f"/api/models/{name}/commit/main", content=lines % json.dumps(file))


def test_signatures_are_those_of_the_specification() -> None:
    """The example of AWS, "Authenticating Requests: Using Query Parameters"."""
    presigner = Presigner(
        base="https://examplebucket.s3.amazonaws.com",
        region="us-east-1",
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    url = presigner.url("GET", "test.txt", seconds=86400, now=moment)
    signature = parse_qs(urlsplit(url).query)["X-Amz-Signature"]
    assert signature == ["aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"]
    assert "wJalr" not in repr(presigner)


@pytest.mark.parametrize(
    ("base", "host"),
    [
        ("https://S3.internal:443/b", "s3.internal"),
        ("http://s3.internal:80/b", "s3.internal"),
        ("https://s3.internal:80/b", "s3.internal:80"),
        ("http://[::1]:9000/b", "[::1]:9000"),
    ],
)
def test_the_host_that_is_signed_is_the_one_that_clients_send(base: str, host: str) -> None:
    url = Presigner(base, "us-east-1", "key", "secret").url("GET", "x", seconds=60)
    assert urlsplit(url).netloc == httpx.Request("GET", url).headers["Host"] == host
    plain = Presigner(f"{urlsplit(base).scheme}://{host}/b", "us-east-1", "key", "secret")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    again = Presigner(base, "us-east-1", "key", "secret").url("GET", "x", seconds=60, now=moment)
    assert again == plain.url("GET", "x", seconds=60, now=moment)


def test_a_large_content_is_fetched_from_the_bucket(hub, name) -> None:
    data = LARGE + name.encode()
    (planned,) = plan(hub, name, data)
    assert httpx.put(planned["actions"]["upload"]["href"], content=data).status_code == 200
    assert verify(hub, name, data).status_code == 200
    assert commit(hub, name, data).status_code == 200
    with hub.http() as http:
        address = f"/{name}/resolve/main/w.bin"
        answer = http.get(address)
        assert (answer.status_code, answer.content) == (302, b"")
        assert answer.headers["X-Linked-Etag"] == f'"{digest(data)}"'
        assert "no-store" in answer.headers["Cache-Control"]
        there = answer.headers["Location"]
        assert urlsplit(there).port != urlsplit(hub.url).port
        found = httpx.get(there)
        assert found.content == data
        assert found.headers["Content-Disposition"].startswith("attachment")
        assert found.headers["Content-Type"] == "application/octet-stream"
        part = http.get(address, headers={"Range": "bytes=5-9"}, follow_redirects=True)
        assert (part.status_code, part.content) == (206, data[5:10])
        head = http.head(address)
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(data)))
        beyond = http.get(address, headers={"Range": f"bytes={len(data)}-"})
        assert beyond.status_code == 416
        # a client that has a part compares with the hub's ETag, which the bucket does not know
        resumed = http.get(
            address, headers={"Range": "bytes=5-9", "If-Range": head.headers["ETag"]}
        )
        assert (resumed.status_code, resumed.content) == (206, data[5:10])
        small = http.get(f"/{name}/resolve/main/.gitattributes")
        assert small.status_code == 200
    with hub.http("carol") as http:
        hidden = http.get(f"/{name}/resolve/main/w.bin")
        assert (hidden.status_code, hidden.headers.get("Location")) == (403, None)


def test_an_address_is_good_for_nothing_else(hub, swift, name) -> None:
    data = LARGE + name.encode()
    (planned,) = plan(hub, name, data)
    upload = planned["actions"]["upload"]["href"]
    assert httpx.put(upload, content=data + b"x").status_code == 403  # one length alone
    assert httpx.get(upload).status_code == 403
    assert httpx.put(upload.replace(digest(data), digest(b"")), content=data).status_code == 403
    assert httpx.put(upload, content=data).status_code == 200
    assert verify(hub, name, data).status_code == 200
    commit(hub, name, data)
    with hub.http() as http:
        there = http.get(f"/{name}/resolve/main/w.bin").headers["Location"]
    assert httpx.get(there).status_code == 200
    assert httpx.put(there, content=data).status_code == 403
    assert httpx.get(there.replace("attachment", "inline")).status_code == 403
    assert httpx.get(there.replace(digest(data)[2:], digest(b"")[2:])).status_code == 403
    assert httpx.get(there.split("?")[0]).status_code in (400, 403)
    assert swift.secret_access_key not in there


def test_an_address_expires(hub, name, monkeypatch) -> None:
    data = LARGE + name.encode()
    (planned,) = plan(hub, name, data)
    httpx.put(planned["actions"]["upload"]["href"], content=data)
    verify(hub, name, data)
    commit(hub, name, data)
    monkeypatch.setattr("fin_qlora_hub.contents.bucket_direct.DOWNLOAD_SECONDS", 1)
    with hub.http() as http:
        there = http.get(f"/{name}/resolve/main/w.bin").headers["Location"]
    end = time.time() + 20
    while httpx.get(there).status_code == 200 and time.time() < end:
        pass
    assert httpx.get(there).status_code == 403


def test_chunks_are_fetched_from_the_bucket_and_nothing_beside_them(hub, name, xet, maker) -> None:
    data = random.Random(12).randbytes(50_000)
    xorb, body = maker.xorb(data)
    with xet(name, hub=hub) as http:
        http.post(f"v1/xorbs/default/{xorb}", content=body).raise_for_status()
        http.post("v1/shards", content=maker.shard(maker.file(data))).raise_for_status()
        located = f"v2/reconstructions/{maker.file_hash(data)}"
        part = http.get(located, headers={"Range": "bytes=20000-29999"}).json()["xorbs"][xorb][0]
    span = part["ranges"][0]["bytes"]
    start, end = span["start"], span["end"]
    asked = {"Range": f"bytes={start}-{end}"}
    assert httpx.get(part["url"], headers=asked).content == body[start : end + 1]
    for other in ({}, {"Range": f"bytes={start}-{end + 1}"}, {"Range": "bytes=0-9"}):
        assert httpx.get(part["url"], headers=other).status_code == 403, other


def test_only_what_is_right_becomes_a_content(hub, name) -> None:
    data = LARGE + name.encode()
    (planned,) = plan(hub, name, data)
    upload = planned["actions"]["upload"]["href"]
    assert verify(hub, name, data).status_code == 404  # nothing has come
    assert httpx.put(upload, content=data[::-1]).status_code == 200
    refused = verify(hub, name, data)
    assert refused.status_code == 400
    assert "nothing was stored" in refused.json()["error"]
    assert not hub.hub.blobs.holds(digest(data))
    assert commit(hub, name, data).status_code == 400
    assert httpx.put(upload, content=data).status_code == 200
    # another repository has not got it, whoever asks
    assert verify(hub, name, data, caller="carol").status_code == 404
    assert verify(hub, name, data).status_code == 200
    assert verify(hub, name, data).status_code == 200
    assert plan(hub, name, data) == [{"oid": digest(data), "size": len(data)}]


def test_a_copy_that_somebody_may_be_fetching_is_not_collected(
    hub, name, xet, maker, monkeypatch
) -> None:
    data = random.Random(13).randbytes(50_000)
    xorb, body = maker.xorb(data)
    with xet(name, hub=hub) as http:
        http.post(f"v1/xorbs/default/{xorb}", content=body).raise_for_status()
        http.post("v1/shards", content=maker.shard(maker.file(data))).raise_for_status()
        located = f"v2/reconstructions/{maker.file_hash(data)}"
        part = http.get(located).json()["xorbs"][xorb][0]
        http.post(f"v1/xorbs/default/{xorb}", content=body).raise_for_status()  # once more
        now = http.get(located).json()["xorbs"][xorb][0]["url"]
    assert urlsplit(now).path != urlsplit(part["url"]).path  # the copy that was sent last counts
    span = part["ranges"][0]["bytes"]
    asked = {"Range": f"bytes={span['start']}-{span['end']}"}
    monkeypatch.setattr(disk, "PATIENCE_SECONDS", -3600)  # as if all had been sent long ago
    collect(hub.hub)
    assert httpx.get(part["url"], headers=asked).status_code == 206
    monkeypatch.setattr(collecting, "_STILL_READ", timedelta(seconds=-60))
    collect(hub.hub)
    assert httpx.get(part["url"], headers=asked).status_code == 404
    assert httpx.get(now, headers=asked).status_code == 206


def test_what_is_swapped_while_it_is_verified_is_not_kept(hub, name, monkeypatch) -> None:
    data = LARGE * 4 + name.encode()
    other = LARGE[::-1] * 4 + name.encode()
    (planned,) = plan(hub, name, data)
    upload = planned["actions"]["upload"]["href"]
    assert httpx.put(upload, content=data).status_code == 200
    fetch = Bucket._piece

    def swapped_behind(bucket: Bucket, name: str, start: int, end: int) -> bytes:
        piece = fetch(bucket, name, start, end)
        if name.startswith("incoming/") and start == 0:
            assert httpx.put(upload, content=other).status_code == 200
        return piece

    monkeypatch.setattr(Bucket, "_piece", swapped_behind)
    assert verify(hub, name, data).status_code == 400
    monkeypatch.undo()
    assert not hub.hub.blobs.holds(digest(data))
    assert commit(hub, name, data).status_code == 400
    # an address that is used again afterwards changes nothing of what was verified
    assert httpx.put(upload, content=data).status_code == 200
    assert verify(hub, name, data).status_code == 200
    assert httpx.put(upload, content=other).status_code == 200
    assert verify(hub, name, data).status_code in (200, 400)
    assert b"".join(hub.hub.blobs.read(digest(data))) == data


def test_several_ask_for_the_same_verification_at_once(hub, name) -> None:
    data = LARGE * 4 + name.encode()
    (planned,) = plan(hub, name, data)
    assert httpx.put(planned["actions"]["upload"]["href"], content=data).status_code == 200
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: verify(hub, name, data), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4, [a.text for a in answers]
    assert b"".join(hub.hub.blobs.read(digest(data))) == data


def test_a_client_need_not_ask_for_verification(hub, name, monkeypatch) -> None:
    data = LARGE * 4 + name.encode()  # more than one part of the bucket's
    fetched: list[str] = []
    fetch = Bucket._piece

    def noting(bucket: Bucket, name: str, start: int, end: int) -> bytes:
        fetched.append(name)
        return fetch(bucket, name, start, end)

    monkeypatch.setattr(Bucket, "_piece", noting)
    (planned,) = plan(hub, name, data)
    httpx.put(planned["actions"]["upload"]["href"], content=data)
    assert commit(hub, name, data).status_code == 200
    assert len(fetched) == 2  # each is a request, and a client waits for all of them
    with hub.http() as http:
        address = f"/{name}/resolve/main/w.bin"
        assert http.get(address, follow_redirects=True).content == data
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_parts_go_to_the_bucket_too(hub, name) -> None:
    data = LARGE + name.encode()
    (planned,) = plan(hub, name, data, transfers=("basic", "multipart"))
    upload = planned["actions"]["upload"]
    addresses = [upload["header"][f"{number:05}"] for number in (1, 2, 3, 4)]
    receipts = []
    for number, address in enumerate(addresses):
        assert urlsplit(address).port != urlsplit(hub.url).port
        part = data[number * 1_000_000 : (number + 1) * 1_000_000]
        answer = httpx.put(address, content=part)
        receipts.append({"partNumber": number + 1, "etag": answer.headers["ETag"]})
    wrong = httpx.post(upload["href"], json={"oid": digest(data), "parts": receipts[1:]})
    assert wrong.status_code == 400
    done = httpx.post(upload["href"], json={"oid": digest(data), "parts": receipts})
    assert done.status_code == 200, done.text
    assert commit(hub, name, data).status_code == 200


def test_a_lost_role_makes_an_upload_worthless(swift, start_hub, tmp_path) -> None:
    with start_hub(tmp_path / "data", **swift.settings(swift.new_bucket())) as hub:
        hub.api().create_repo("desk/a")
        (planned,) = plan(hub, "desk/a", LARGE, caller="walter")
        with hub.hub.database.writing() as session:
            revoke(session, "desk", "walter")
        assert httpx.put(planned["actions"]["upload"]["href"], content=LARGE).status_code == 200
        assert verify(hub, "desk/a", LARGE, caller="walter").status_code in (403, 404)
        assert commit(hub, "desk/a", LARGE).status_code == 400  # nor is it alice's
        assert not hub.hub.blobs.holds(digest(LARGE))


def test_what_nobody_verified_is_swept(hub, name, monkeypatch) -> None:
    data = LARGE + name.encode()
    (planned,) = plan(hub, name, data)
    httpx.put(planned["actions"]["upload"]["href"], content=data)
    bucket = Bucket(hub.hub.settings)
    try:
        collect(hub.hub)
        assert len(list(bucket.objects("incoming"))) == 1
        monkeypatch.setattr(parts, "PATIENCE_SECONDS", -3600)
        collect(hub.hub)
        assert list(bucket.objects("incoming")) == []
    finally:
        bucket.close()
    assert commit(hub, name, data).status_code == 400


@pytest.mark.parametrize("without_xet", ["0", "1"])
def test_the_stock_client(hub, name, run_python, tmp_path, without_xet) -> None:
    data = LARGE + name.encode()
    (tmp_path / "w").write_bytes(data)
    env = {**hub.environment(tmp_path), "HF_HUB_DISABLE_XET": without_xet}
    done = run_python("-c", PUSH, name, str(tmp_path / "w"), env=env)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == data
    assert hub.hub.blobs.holds(digest(data)) == (without_xet == "1")


def test_all_can_go_through_the_hub(swift, start_hub, tmp_path) -> None:
    options = {**swift.settings(swift.new_bucket()), "presigned_transfer": False}
    with start_hub(tmp_path / "data", **options) as hub:
        hub.api().create_repo("alice/a")
        (planned,) = plan(hub, "alice/a", LARGE)
        assert planned["actions"]["upload"]["href"].startswith(hub.url)
        httpx.put(planned["actions"]["upload"]["href"], content=LARGE).raise_for_status()
        assert commit(hub, "alice/a", LARGE).status_code == 200
        with hub.http() as http:
            found = http.get("/alice/a/resolve/main/w.bin")
        assert (found.status_code, found.content) == (200, LARGE)


def test_clients_may_reach_the_bucket_in_another_way(swift, start_hub, tmp_path) -> None:
    outside = {"s3_public_endpoint": swift.url.replace("127.0.0.1", "localhost")}
    with start_hub(tmp_path / "data", **swift.settings(swift.new_bucket()), **outside) as hub:
        hub.api().create_repo("alice/a")
        (planned,) = plan(hub, "alice/a", LARGE)
        upload = planned["actions"]["upload"]["href"]
        assert urlsplit(upload).hostname == "localhost"
        assert httpx.put(upload, content=LARGE).status_code == 200
        assert commit(hub, "alice/a", LARGE).status_code == 200
