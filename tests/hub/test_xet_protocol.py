"""The chunk store over HTTP: every way in and out, and everything that is refused."""

import hashlib
import json
import random
import re
import time

import lz4.frame
import pytest
from contents import contents_of
from waiting import wait_until

from fin_qlora_hub.access import signing
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.tables import Xorb
from fin_qlora_hub.routes.xet import shards, xorbs
from fin_qlora_hub.xet import access
from fin_qlora_hub.xet.files import MOST_SMALL_ADVERTISED
from fin_qlora_hub.xet.hashes import from_text
from fin_qlora_hub.xet.shards import read_files


def some_bytes(size: int = 25_000, *, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def register(http, maker, data: bytes, **lies):
    """Send a xorb and a shard as older clients do; return the answer to the shard."""
    name, body = maker.xorb(data)
    sent = http.post(f"v1/xorbs/default/{name}", content=body)
    assert sent.status_code == 200, sent.text
    return http.post("v1/shards", content=maker.shard(maker.file(data, **lies)))


def commit(running, name: str, data: bytes, *, caller: str = "alice"):
    line = {"path": "w.bin", "algo": "sha256", "oid": hashlib.sha256(data).hexdigest()}
    body = '{"key":"header","value":{"summary":"s"}}\n' + json.dumps(
        {"key": "lfsFile", "value": {**line, "size": len(data)}}
    )
    with running.http(caller) as http:
        return http.post(f"/api/models/{name}/commit/main", content=body.encode())


def put_together(http, found: dict, *, length: int) -> bytes:
    """Do what a client does with the older form of a reconstruction."""
    whole = b""
    for term in found["terms"]:
        start, end = term["range"]["start"], term["range"]["end"]
        (place,) = [
            place
            for place in found["fetch_info"][term["hash"]]
            if place["range"]["start"] <= start and end <= place["range"]["end"]
        ]
        first, last = place["url_range"]["start"], place["url_range"]["end"]
        answer = http.get(place["url"], headers={"Range": f"bytes={first}-{last}"})
        assert answer.status_code == 206
        assert len(answer.content) == last + 1 - first
        position, chunks = 0, []
        while position < len(answer.content):
            header = answer.content[position : position + 8]
            size = int.from_bytes(header[1:4], "little")
            chunk = answer.content[position + 8 : position + 8 + size]
            chunks.append(chunk if header[4] == 0 else lz4.frame.decompress(chunk))
            position += 8 + size
        mine = b"".join(chunks[start - place["range"]["start"] : end - place["range"]["start"]])
        assert len(mine) == term["unpacked_length"]
        whole += mine
    skipped = found["offset_into_first_range"]
    return whole[skipped : skipped + length]


def test_a_token_says_the_same_twice(running, repository) -> None:
    for scope in ("read", "write"):
        with running.http() as http:
            answer = http.get(f"/api/models/{repository}/xet-{scope}-token/main")
        given = answer.json()
        assert answer.headers["x-xet-access-token"] == given["accessToken"]
        assert answer.headers["x-xet-token-expiration"] == str(given["exp"])
        assert answer.headers["x-xet-cas-url"] == given["casUrl"]
        assert 900 <= given["exp"] - time.time() <= 3600
    with running.http() as http:
        assert http.get(f"/api/models/{repository}/xet-write-token/None").status_code == 200
        missing = http.get(f"/api/models/{repository}/xet-read-token/missing")
        assert missing.headers["x-error-code"] == "RevisionNotFound"


@pytest.mark.parametrize(
    ("scope", "caller", "status"),
    [
        ("write", "bob", 403),
        ("write", "carol", 404),
        ("read", "carol", 404),
        ("read", "anonymous", 401),
        ("write", "alice-read", 403),
        ("read", "bob", 200),
        ("write", "walter", 200),
    ],
)
def test_who_gets_a_token(running, shared, scope, caller, status) -> None:
    with running.http(caller) as http:
        answer = http.get(f"/api/models/{shared}/xet-{scope}-token/main")
        assert answer.status_code == status


def test_granted_xorbs(xet, maker, repository, running) -> None:
    name, body = maker.xorb(some_bytes(seed=1))
    wanted = {"length": len(body), "checksum": {"algo": "crc64nvme", "value": "1"}}
    with xet(repository) as http:
        confirm = f"v1/xorb-commits/default/{name}/grant/anything"
        answer = http.post(f"v1/xorb-grants/default/{name}", json=wanted)
        assert answer.status_code == 201
        grant = answer.json()
        assert http.post(confirm).status_code == 404
        with running.http("anonymous") as stranger:
            other = grant["url"].replace(name, "0" * 64)
            assert stranger.put(other, content=body).status_code == 403
            forged = grant["url"][:-1] + ("A" if grant["url"][-1] != "A" else "B")
            assert stranger.put(forged, content=body).status_code == 403
            assert stranger.put(grant["url"], content=body[:-1]).status_code == 403
            assert stranger.put(grant["url"], content=b"x" * len(body)).status_code == 400
            assert stranger.put(grant["url"], content=iter([body])).json()["was_inserted"]
            assert not stranger.put(grant["url"], content=body).json()["was_inserted"]
        assert http.post(confirm).status_code == 200
        assert http.post(f"v1/xorb-grants/default/{name}", json=wanted).status_code == 200
        assert http.post(f"v1/xorb-grants/default/{name}", json={"length": 0}).status_code == 400


@pytest.mark.parametrize("version", ["v1/", ""])
def test_older_ways_in(xet, maker, repository, running, version) -> None:
    data = some_bytes(seed=2 + len(version))
    name, body = maker.xorb(data)
    with xet(repository) as http:
        path = f"{version}xorbs/default/{name}"
        assert http.post(path, content=body).json() == {"was_inserted": True}
        assert http.post(path, content=body + b"XETBLOB footer").json() == {"was_inserted": False}
        shard = maker.shard(maker.file(data)) + b"footer"
        assert http.post(f"{version}shards", content=shard).json() == {"result": 1}
        assert http.post(f"{version}shards", content=shard).json() == {"result": 0}
        found = http.get(f"{version}reconstructions/{maker.file_hash(data)}").json()
        assert put_together(http, found, length=len(data)) == data
    assert commit(running, repository, data).status_code == 200


def test_a_shard_with_progress(xet, maker, repository, running, monkeypatch) -> None:
    monkeypatch.setattr(shards, "FRAME_SECONDS", 0.01)
    waited = []

    def slowly(*arguments, **named):
        waited.append(time.sleep(0.2))
        return verified(*arguments, **named)

    from fin_qlora_hub.xet import registering

    verified = registering._verified
    monkeypatch.setattr(registering, "_verified", slowly)
    data = some_bytes(seed=5)
    name, body = maker.xorb(data)
    with xet(repository) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        answer = http.post("v2/shards", content=maker.shard(maker.file(data)))
        frames = [json.loads(line) for line in answer.text.splitlines()]
        assert frames[0] == {"type": "validating", "verified": 0, "total": 1}
        assert [frame["type"] for frame in frames[-2:]] == ["committing", "result"]
        bad = maker.shard(maker.file(some_bytes(seed=6), xorb=name))
        (frame,) = [
            json.loads(line)
            for line in http.post("v2/shards", content=bad).text.split("\n")[:-1]
            if "error" in line
        ]
        assert (frame["type"], frame["retryable"]) == ("error", False)
    assert waited


def test_parts_of_a_file(xet, maker, repository) -> None:
    data = some_bytes(95_000, seed=7)
    with xet(repository) as http:
        register(http, maker, data)
        path = f"v1/reconstructions/{maker.file_hash(data)}"
        for first, last in [(0, 0), (9_999, 10_000), (12_345, 67_890), (94_999, 10**12)]:
            found = http.get(path, headers={"Range": f"bytes={first}-{last}"}).json()
            expected = data[first : last + 1]
            assert put_together(http, found, length=len(expected)) == expected
            assert sum(term["unpacked_length"] for term in found["terms"]) < len(expected) + 20_001
        outside = http.get(path, headers={"Range": "bytes=95000-"})
        assert (outside.status_code, outside.headers["content-range"]) == (416, "bytes */95000")
        new = http.get(path.replace("v1", "v2"), headers={"Range": "bytes=12345-67890"}).json()
        old = http.get(path, headers={"Range": "bytes=12345-67890"}).json()
        assert new["terms"] == old["terms"]
        ((xorb, (place,)),) = new["xorbs"].items()
        assert place["ranges"][0]["chunks"] == old["fetch_info"][xorb][0]["range"]
        assert place["ranges"][0]["bytes"] == old["fetch_info"][xorb][0]["url_range"]


def test_a_file_of_several_runs(xet, maker, repository) -> None:
    data = some_bytes(50_000, seed=8)
    name, body = maker.xorb(data)
    chunks = maker.chunks(data)
    order = [(3, 5), (0, 2), (1, 4), (3, 5)]
    whole = b"".join(chunk for start, end in order for chunk in chunks[start:end])
    record = maker.file(whole)
    runs = [
        (maker.file(b"".join(chunks[start:end]), xorb=name, start=start, end=end), start, end)
        for start, end in order
    ]
    record = (
        record[:36]
        + len(runs).to_bytes(4, "little")
        + record[40:48]
        + b"".join(run[48:96] for run, _, _ in runs)
        + b"".join(run[96:144] for run, _, _ in runs)
        + record[-48:]
    )
    with xet(repository) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        answer = http.post("v1/shards", content=maker.shard(record))
        assert answer.json() == {"result": 1}, answer.text
        found = http.get(f"v1/reconstructions/{maker.file_hash(whole)}").json()
        assert len(found["terms"]) == 4
        assert len(found["fetch_info"][name]) == 1  # the runs touch: they are fetched as one
        assert put_together(http, found, length=len(whole)) == whole


def test_signed_addresses_are_good_for_their_bytes_alone(
    xet, maker, repository, running, monkeypatch
) -> None:
    data = some_bytes(95_000, seed=9)
    with xet(repository) as http:
        register(http, maker, data)
        path = f"v1/reconstructions/{maker.file_hash(data)}"
        found = http.get(path, headers={"Range": "bytes=20000-29999"}).json()
        ((xorb, (place,)),) = found["fetch_info"].items()
        url, part = place["url"], place["url_range"]

        def status(url: str, first: int, last: int) -> int:
            with running.http("anonymous") as stranger:
                return stranger.get(url, headers={"Range": f"bytes={first}-{last}"}).status_code

        assert status(url, part["start"], part["end"]) == 206
        for first, last in [(0, part["end"]), (part["start"], part["end"] + 1), (0, 5)]:
            assert status(url, first, last) == 403
        with running.http("anonymous") as stranger:
            assert stranger.get(url).status_code == 403
            assert stranger.get(url.split("?")[0]).status_code == 400
        assert status(url.replace(xorb, "0" * 64), part["start"], part["end"]) == 403
        changed = re.sub(r"part=.", "part=f", url)
        assert status(changed, part["start"], part["end"]) == 403
        monkeypatch.setattr(signing.time, "time", lambda: time.monotonic() + 10**10)
        assert status(url, part["start"], part["end"]) == 403


@pytest.mark.parametrize(
    "lie",
    [
        {"sha256": "ab" * 32},
        {"file_hash": "12" * 32},
        {"run": bytes(32)},
        {"size": 24_999},
        {"end": 2},
        {"end": 4},
        {"start": 1},
        {"start": 3},
        {"xorb": "34" * 32},
    ],
)
def test_a_file_that_is_not_what_it_says(xet, maker, repository, running, lie) -> None:
    data = some_bytes(seed=10)
    with xet(repository) as http:
        answer = register(http, maker, data, **lie)
        assert (answer.status_code, answer.headers["x-error-code"]) == (400, "BadRequest")
        for known in (maker.file_hash(data), lie.get("file_hash")):
            if known:
                assert http.get(f"v1/reconstructions/{known}").status_code == 404
    for sha256 in (hashlib.sha256(data).hexdigest(), lie.get("sha256")):
        if sha256:
            line = f'{{"key":"lfsFile","value":{{"path":"w","algo":"sha256","oid":"{sha256}"}}}}'
            body = '{"key":"header","value":{"summary":"s"}}\n' + line
            with running.http() as http:
                answer = http.post(f"/api/models/{repository}/commit/main", content=body.encode())
            assert answer.status_code == 400
    assert running.api().list_repo_files(repository) == [".gitattributes"]


def test_a_chunk_that_changed_on_the_disk_is_not_the_clients_fault(
    xet, maker, repository, running, caplog
) -> None:
    data = some_bytes(seed=71)
    name, body = maker.xorb(data)
    with xet(repository) as http:
        assert http.post(f"v1/xorbs/default/{name}", content=body).status_code == 200
        path = running.hub.xorbs.files.path_of(name)
        stored = path.read_bytes()
        path.write_bytes(stored[:100] + bytes([stored[100] ^ 1]) + stored[101:])
        assert http.post("v1/shards", content=maker.shard(maker.file(data))).status_code == 500
        assert "is damaged: a chunk has another hash" in caplog.text
        path.write_bytes(stored)
        assert http.post("v1/shards", content=maker.shard(maker.file(data))).status_code == 200


def test_one_bad_file_of_a_shard_registers_none(xet, maker, repository) -> None:
    good, bad = some_bytes(seed=11), some_bytes(seed=12)
    with xet(repository) as http:
        for data in (good, bad):
            name, body = maker.xorb(data)
            http.post(f"v1/xorbs/default/{name}", content=body)
        shard = maker.shard(maker.file(good), maker.file(bad, sha256="ab" * 32))
        assert http.post("v1/shards", content=shard).status_code == 400
        assert http.get(f"v1/reconstructions/{maker.file_hash(good)}").status_code == 404


def stored_xorbs(hub: Hub) -> set[str]:
    return contents_of(hub.settings).everything()


def test_bad_xorbs_leave_nothing(xet, maker, repository, running) -> None:
    before = stored_xorbs(running.hub)
    name, body = maker.xorb(some_bytes(seed=13))
    with xet(repository) as http:
        for path, content in [
            ("1" * 64, body),
            (name, body[:-1]),
            (name, b"garbage" * 100),
            (name, b""),
        ]:
            answer = http.post(f"v1/xorbs/default/{path}", content=content)
            assert answer.status_code == 400
        assert http.post("v1/shards", content=b"garbage" * 100).status_code == 400
        assert http.post("v1/xorbs/default/" + "A" * 64, content=body).status_code == 404
    assert stored_xorbs(running.hub) == before


def test_endless_bodies_are_refused(xet, maker, repository, running, monkeypatch) -> None:
    before = stored_xorbs(running.hub)
    monkeypatch.setattr("fin_qlora_hub.routes.boundary.MAX_BODY_BYTES", 100_000)
    monkeypatch.setattr("fin_qlora_hub.routes.boundary.MAX_BYTES", 100_000)
    name, body = maker.xorb(some_bytes(95_000, seed=14))

    def endless(body: bytes):
        yield body
        for _ in range(100):
            yield b"\0" * 10_000

    with xet(repository) as http:
        for path in (f"v1/xorbs/default/{name}", "v1/shards", "v2/shards"):
            assert http.post(path, content=body + bytes(100_000)).status_code == 413
            assert http.post(path, content=endless(maker.header() + body)).status_code in (400, 413)
    assert stored_xorbs(running.hub) == before


def test_tokens_that_do_not_count(xet, maker, repository, running, monkeypatch) -> None:
    name, body = maker.xorb(some_bytes(seed=15))
    path = f"v1/xorbs/default/{name}"
    with xet(repository, scope="read") as http:
        assert http.post(path, content=body).status_code == 403
        assert http.post("v1/shards", content=maker.shard()).status_code == 403
        assert http.get(f"v1/chunks/default/{name}").status_code == 403
    with xet(repository) as http:
        good = http.headers["Authorization"]
        for bad in ["", "Bearer", "Basic x", "Bearer x", good[:-2] + "AA", good + "x"]:
            http.headers["Authorization"] = bad
            assert http.post(path, content=body).status_code == 401
            assert http.get(f"v2/reconstructions/{name}").status_code == 401
        http.headers["Authorization"] = f"Bearer {running.tokens['alice']}"
        assert http.post(path, content=body).status_code == 401
        http.headers["Authorization"] = good
        monkeypatch.setattr(signing.time, "time", lambda: time.monotonic() + 10**10)
        assert http.post(path, content=body).status_code == 401
        monkeypatch.undo()
        assert http.post(path, content=body).status_code == 200
        running.api().delete_repo(repository)
        assert http.post("v1/shards", content=maker.shard()).status_code == 404


def test_who_lost_the_role_cannot_go_on(start_hub, xet, maker, tmp_path) -> None:
    from fin_qlora_hub.access.identity import revoke

    name, body = maker.xorb(some_bytes(seed=16))
    with start_hub(tmp_path / "data") as hub:
        hub.api().create_repo("desk/a")
        with xet("desk/a", caller="walter", hub=hub) as http:
            with hub.hub.database.writing() as session:
                revoke(session, "desk", "walter")
            assert http.post(f"v1/xorbs/default/{name}", content=body).status_code == 403


def test_another_tenant_learns_and_takes_nothing(xet, maker, shared, running, new_name) -> None:
    data = some_bytes(seed=17)
    name, body = maker.xorb(data)
    theirs = new_name("carol")
    running.api("carol").create_repo(theirs)
    with xet(shared) as http:
        assert register(http, maker, data).json() == {"result": 1}
        assert commit(running, shared, data).status_code == 200
    chunk = maker.nodes(data)[0][0]
    shard = maker.shard(maker.file(data))
    with xet(theirs, caller="carol") as http, xet(shared) as owner:
        from fin_qlora_hub.xet.hashes import to_text

        # the namespace itself is told, another is not: by chunk, by xorb, by file, by SHA-256
        assert owner.get(f"v1/chunks/default/{to_text(chunk)}").status_code == 200
        assert http.get(f"v1/chunks/default/{to_text(chunk)}").status_code == 404
        grant = http.post(f"v1/xorb-grants/default/{name}", json={"length": len(body)})
        assert grant.status_code == 201
        assert http.post(f"v1/xorb-commits/default/{name}/grant/x").status_code == 404
        here = http.post("v1/shards", content=shard)
        absent = http.post("v1/shards", content=maker.shard(maker.file(data, xorb="0" * 64)))
        assert here.status_code == absent.status_code == 400
        assert here.text.replace(name, "0" * 64) == absent.text
        assert http.get(f"v1/reconstructions/{maker.file_hash(data)}").status_code == 404
        assert commit(running, theirs, data, caller="carol").status_code == 400
        # who has the bytes may send them, and hears nothing of the others
        assert http.post(f"v1/xorbs/default/{name}", content=body).json() == {"was_inserted": True}
        assert http.post("v1/shards", content=shard).json() == {"result": 1}
    with running.hub.database.reading() as session:
        assert session.get(Xorb, name) is not None


def test_another_repository_of_the_namespace(xet, maker, repository, running, new_name) -> None:
    data = some_bytes(seed=18)
    other = new_name()
    running.api().create_repo(other)
    with xet(repository) as http:
        register(http, maker, data)
    with xet(other) as http:
        # not registered here, though the chunks may be used
        assert http.get(f"v1/reconstructions/{maker.file_hash(data)}").status_code == 404
        assert commit(running, other, data).status_code == 400
        assert http.post("v1/shards", content=maker.shard(maker.file(data))).json() == {"result": 1}
    assert commit(running, other, data).status_code == 200


def test_a_dedup_answer_lists_the_rest_of_the_file(xet, maker, repository) -> None:
    data = some_bytes(55_000, seed=19)
    name, _ = maker.xorb(data)
    with xet(repository) as http:
        register(http, maker, data)
        from fin_qlora_hub.xet.hashes import keyed, to_text

        first, later = maker.nodes(data)[0][0], maker.nodes(data)[1][0]
        answer = http.get(f"v1/chunks/default-merkledb/{to_text(first)}").content
        key = answer[-200 + 72 : -200 + 104]
        assert key != bytes(32)
        assert from_text(name) in answer
        assert all(keyed(key, chunk) in answer for chunk, _ in maker.nodes(data))
        assert first not in answer
        with pytest.raises(Exception, match="malformed"):
            list(read_files(__import__("io").BytesIO(answer[:50])))
        unasked = http.get(f"v1/chunks/default/{to_text(later)}")
        assert unasked.status_code == 404


def test_small_answers(xet, repository, running) -> None:
    with xet(repository) as http:
        for path in ("v3/shards", "v1/unknown/default/" + "0" * 64, "v2/file-chunk-hashes/x"):
            answer = http.post(path)
            assert (answer.status_code, answer.headers["x-error-code"]) == (404, "EndpointNotFound")
    with running.http("anonymous") as http:
        assert http.post("/v1/telemetry", json={}).status_code == 200


def test_plain_http_gets_what_came_in_chunks(xet, maker, repository, running) -> None:
    data = some_bytes(2_000_000, seed=20)
    with xet(repository) as http:
        register(http, maker, data)
    commit(running, repository, data)
    url = f"/{repository}/resolve/main/w.bin"
    with running.http() as http:
        head = http.head(url)
        assert head.headers["x-xet-hash"] == maker.file_hash(data)
        assert head.headers["x-linked-size"] == "2000000"
        token = re.fullmatch(r'<(.*)>; rel="xet-auth"', head.headers["link"])[1]
        assert http.get(token).json()["accessToken"]
        assert http.get(url).content == data
        for first, last in [(0, 0), (9_999, 10_000), (1_234_567, 1_900_000), (1_999_999, 10**9)]:
            part = http.get(url, headers={"Range": f"bytes={first}-{last}"})
            assert (part.status_code, part.content) == (206, data[first : last + 1])
        assert http.get(url, headers={"Range": "bytes=2000000-"}).status_code == 416


def test_many_small_files_are_fetched_plainly(xet, maker, repository, running) -> None:
    def add(data: bytes) -> str | None:
        """Return the hash that everybody tells alike."""
        with xet(repository) as http:
            register(http, maker, data)
        commit(running, repository, data)
        with running.http() as http:
            told = http.head(f"/{repository}/resolve/main/w.bin").headers.get("x-xet-hash")
        (entry,) = (e for e in running.api().list_repo_tree(repository) if e.path == "w.bin")
        assert entry.xet_hash == told
        (described,) = running.api().get_paths_info(repository, "w.bin")
        assert described.xet_hash is not None
        return told

    for number in range(MOST_SMALL_ADVERTISED):
        assert add(some_bytes(1000, seed=number)) is not None
    assert add(some_bytes(1024 * 1024 - 1, seed=21)) is None
    assert add(some_bytes(1024 * 1024, seed=22)) is not None


def test_a_card_may_come_in_chunks(xet, maker, repository, running) -> None:
    data = b"---\nlicense: mit\n---\n"
    with xet(repository) as http:
        register(http, maker, data)
    line = {"path": "README.md", "algo": "sha256", "oid": hashlib.sha256(data).hexdigest()}
    body = '{"key":"header","value":{"summary":"s"}}\n' + json.dumps(
        {"key": "lfsFile", "value": line}
    )
    with running.http() as http:
        answer = http.post(f"/api/models/{repository}/commit/main", content=body.encode())
        assert answer.status_code == 200
    assert "license:mit" in running.api().model_info(repository).tags


def test_too_many_uploads_at_once_wait_then_come_again(
    start_hub, maker, xet, tmp_path, monkeypatch
) -> None:
    import socket

    monkeypatch.setattr("fin_qlora_hub.routes.receiving.WAIT_SECONDS", 0.2)
    name, body = maker.xorb(some_bytes(seed=22))
    with start_hub(tmp_path / "data", max_uploads=1) as hub:
        hub.api().create_repo("alice/a")
        with xet("alice/a", hub=hub) as http:
            host, port = hub.url.removeprefix("http://").split(":")
            path = f"{http.base_url.path}v1/xorbs/default/{name}"
            with socket.create_connection((host, int(port))) as slow:
                slow.sendall(
                    f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                    f"Authorization: {http.headers['Authorization']}\r\n\r\n".encode()
                )
                time.sleep(0.2)
                answer = http.post(f"v1/xorbs/default/{name}", content=body)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert wait_until(
                lambda: http.post(f"v1/xorbs/default/{name}", content=body).status_code == 200
            )
        assert not contents_of(hub.hub.settings).arriving()


def test_tokens_last_as_long_as_they_say() -> None:
    assert access.TOKEN_SECONDS == 1800


def test_a_client_that_stops_sending_is_let_go(
    xet, maker, repository, running, monkeypatch
) -> None:
    import socket

    monkeypatch.setattr("fin_qlora_hub.routes.receiving.IDLE_SECONDS", 0.3)
    name, body = maker.xorb(some_bytes(seed=30))
    host, port = running.url.removeprefix("http://").split(":")
    with xet(repository) as http, socket.create_connection((host, int(port))) as slow:
        slow.settimeout(20)
        slow.sendall(
            f"POST {http.base_url.path}v1/xorbs/default/{name} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Authorization: {http.headers['Authorization']}\r\n\r\n".encode()
            + body[:1000]
        )
        assert b" 503 " in slow.recv(1000)
    assert not contents_of(running.hub.settings).arriving()


def test_a_client_that_sends_too_slowly_is_let_go(
    xet, maker, repository, running, monkeypatch
) -> None:
    import socket

    monkeypatch.setattr("fin_qlora_hub.routes.receiving.IDLE_SECONDS", 1)
    name, body = maker.xorb(some_bytes(seed=31))
    host, port = running.url.removeprefix("http://").split(":")
    with xet(repository) as http, socket.create_connection((host, int(port))) as slow:
        slow.settimeout(0.2)
        slow.sendall(
            f"POST {http.base_url.path}v1/xorbs/default/{name} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Authorization: {http.headers['Authorization']}\r\n\r\n".encode()
        )
        for at in range(100):  # never silent for a second
            slow.sendall(body[at : at + 1])
            try:
                assert b" 503 " in slow.recv(1000)
                break
            except TimeoutError:
                continue
        else:
            raise AssertionError("the server waits for ever")


def test_who_may_no_longer_read_cannot_go_on(start_hub, xet, maker, tmp_path) -> None:
    from fin_qlora_hub.access.identity import revoke

    data = some_bytes(seed=32)
    path = f"v2/reconstructions/{maker.file_hash(data)}"
    with start_hub(tmp_path / "data") as hub:
        api = hub.api()
        api.create_repo("desk/a")
        with xet("desk/a", hub=hub) as http:
            assert register(http, maker, data).status_code == 200
        with xet("desk/a", caller="bob", scope="read", hub=hub) as bob:
            assert bob.get(path).status_code == 200
            with hub.hub.database.writing() as session:
                revoke(session, "desk", "bob")
            assert bob.get(path).status_code == 404
            api.update_repo_settings("desk/a", visibility="public")
            assert bob.get(path).status_code == 200
            api.update_repo_settings("desk/a", gated="manual")
            assert bob.get(path).status_code == 404
            api.grant_access("desk/a", "bob")
            assert bob.get(path).status_code == 200
            api.reject_access_request("desk/a", "bob", rejection_reason=None)
            assert bob.get(path).status_code == 404


def test_a_xorb_that_was_collected_just_now_is_asked_for(
    xet, maker, repository, monkeypatch
) -> None:
    name, body = maker.xorb(some_bytes(seed=33))
    monkeypatch.setattr(xorbs, "_is_owned", lambda *_: True)  # it was, a moment ago
    with xet(repository) as http:
        grant = http.post(f"v1/xorb-grants/default/{name}", json={"length": len(body)})
    assert grant.status_code == 201


def test_no_log_names_the_chunks_that_are_asked_for(xet, repository, caplog) -> None:
    caplog.set_level("INFO", logger="uvicorn.access")
    with xet(repository) as http:
        http.get("v1/chunks/default/" + "5e" * 32)
    assert "/v1/chunks/default/..." in caplog.text
    assert "5e5e" not in caplog.text


@pytest.mark.disk
def test_a_full_disk_keeps_no_chunk(xet, maker, repository, running, monkeypatch) -> None:
    import errno

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    data = some_bytes(seed=31)
    name, body = maker.xorb(data)
    before = stored_xorbs(running.hub)
    with xet(repository) as http:
        for place in ("append", "os.fsync", "sync_folder"):
            with monkeypatch.context() as broken:
                broken.setattr(f"fin_qlora_hub.stores.disk.{place}", full)
                answer = http.post(f"v1/xorbs/default/{name}", content=body)
                assert (answer.status_code, answer.headers["x-error-code"]) == (507, "StorageFull")
            grant = http.post(f"v1/xorb-grants/default/{name}", json={"length": len(body)})
            assert grant.status_code == 201
        with monkeypatch.context() as broken:
            broken.setattr("fin_qlora_hub.stores.disk.append", full)
            assert http.post("v1/shards", content=maker.shard()).status_code == 507
        assert len(stored_xorbs(running.hub) - before) <= 1  # no row names it: `gc` takes it
        assert register(http, maker, data).json() == {"result": 1}


def test_a_body_that_is_cut_keeps_nothing(xet, maker, repository, running) -> None:
    import socket

    before = stored_xorbs(running.hub)
    name, body = maker.xorb(some_bytes(seed=32))
    host, port = running.url.removeprefix("http://").split(":")
    with xet(repository) as http:
        for path in (f"v1/xorbs/default/{name}", "v2/shards"):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(
                    f"POST {http.base_url.path}{path} HTTP/1.1\r\nHost: x\r\n"
                    f"Content-Length: {len(body)}\r\n"
                    f"Authorization: {http.headers['Authorization']}\r\n\r\n".encode()
                    + body[:1000]
                )
        assert wait_until(lambda: stored_xorbs(running.hub) == before)
        assert http.get("v1/chunks/default/" + "0" * 64).status_code == 404  # it is still well
