"""`fsck`, `scrub` and `gc`: what is damaged is told, what is unused goes, what is used stays."""

import hashlib
import json
import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import lz4.frame
import pytest
from contents import contents_of, flip, hash_of
from sqlalchemy import delete, select, update

from fin_qlora_hub.care import collecting
from fin_qlora_hub.care.checking import check, scrub
from fin_qlora_hub.care.collecting import collect
from fin_qlora_hub.hub import open_hub
from fin_qlora_hub.metadata.tables import Commit, StoredFile, TreeEntry, XetFile, Xorb, XorbOwner


def some_bytes(size: int, *, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def hub(start_hub, tmp_path):
    """A hub with a file in chunks, one by LFS' store and one inline."""
    with start_hub(tmp_path / "data") as running:
        running.api().create_repo("alice/a")
        data = {"w.bin": some_bytes(1_200_000, seed=1), "note.txt": b"text"}
        for path, content in data.items():
            running.api().upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="alice/a")
        yield running


@pytest.fixture
def contents(hub):
    """What the hub keeps, on its disk or in its bucket."""
    return contents_of(hub.hub.settings)


def blob_of(data: bytes) -> str:
    """Return the name of a whole content."""
    sha256 = hashlib.sha256(data).hexdigest()
    return f"blobs/{sha256[:2]}/{sha256[2:]}"


def newest(contents, xorb: str) -> str:
    """Return where a xorb lies; in a bucket, where it was sent last."""
    names = [name for name in contents.names("xorbs") if hash_of(name) == xorb]
    return max(names, key=lambda name: int(name.partition("-")[2] or 0))


def test_nothing_to_say(hub) -> None:
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_flipped_bytes_are_found(hub, contents) -> None:
    (xorb,) = contents.names("xorbs")
    flip(contents, xorb)
    findings = list(scrub(hub.hub))
    assert len(findings) == 1
    assert hash_of(xorb) in findings[0]
    flip(contents, contents.names("blobs")[0])
    assert len(list(scrub(hub.hub))) == 2
    assert list(check(hub.hub)) == []  # which looks at names and sizes alone
    # a damaged chunk is never sent as if it were right, and the fault is the hub's
    with hub.http() as http, pytest.raises(Exception, match=r"closed|incomplete"):
        http.get("/alice/a/resolve/main/w.bin")


def test_the_index_of_a_xorb_is_read_again_too(hub, contents) -> None:
    (xorb,) = contents.names("xorbs")
    flip(contents, xorb, at=-1)
    assert len(list(scrub(hub.hub))) == 1


def test_what_is_missing_is_named(hub, contents) -> None:
    (xorb,) = contents.names("xorbs")
    contents.write(xorb, contents.read(xorb)[:-1])
    assert "another size" in next(iter(check(hub.hub)))
    contents.remove(xorb)
    assert [f for f in check(hub.hub) if "is missing" in f and "xorb" in f]
    for blob in contents.names("blobs"):
        contents.remove(blob)
    assert sum("The content" in finding for finding in check(hub.hub)) == 2
    with hub.hub.database.writing() as session:
        session.execute(delete(TreeEntry).where(TreeEntry.name == "w.bin"))
        session.execute(delete(TreeEntry).where(TreeEntry.name == ".gitattributes"))
        session.execute(delete(TreeEntry).where(TreeEntry.name == "note.txt"))
        session.execute(delete(Commit).where(Commit.title.startswith("initial")))
        session.execute(delete(StoredFile))
    findings = "\n".join(check(hub.hub))
    assert "The folder" in findings
    assert "follows" in findings
    with hub.hub.database.writing() as session:
        session.execute(delete(Commit))
    assert "names the commit" in "\n".join(check(hub.hub))


def test_the_commands(hub, command, at, contents) -> None:
    at(hub)
    assert command("fsck").returncode == command("scrub").returncode == 0
    (xorb,) = contents.names("xorbs")
    flip(contents, xorb)
    found = command("scrub", "--format", "json")
    assert found.returncode == 1
    assert hash_of(xorb) in json.loads(found.stdout)["finding"]
    assert command("fsck", "--format", "quiet").stdout == ""
    gone = command("gc", "--format", "json")
    assert (gone.returncode, json.loads(gone.stdout)["size"]) == (0, "0")
    assert "Would remove 0 xorbs" in command("gc", "--dry-run").stdout


def age(hub, days: float) -> None:
    """Make everything in a hub so many days older."""
    with hub.hub.database.writing() as session:
        then = datetime.now(UTC) - timedelta(days=days)
        session.execute(update(XorbOwner).values(touched_at=then))
        for xorb in session.scalars(select(Xorb)):
            xorb.created_at -= timedelta(days=days)
        session.execute(update(XetFile).values(created_at=then))
        session.execute(update(StoredFile).values(sent_at=then))
    contents_of(hub.hub.settings).age(days)


def test_what_is_used_is_never_collected(hub) -> None:
    age(hub, 1000)
    assert collect(hub.hub) == collecting.Collected()
    assert list(check(hub.hub)) == []


def test_what_is_unused_goes_after_three_weeks(hub, contents, tmp_path) -> None:
    api = hub.api()
    path = api.hf_hub_download("alice/a", "w.bin", cache_dir=tmp_path)
    assert path
    api.delete_repo("alice/a")
    age(hub, 21)  # hf_xet may still believe that its chunks are here
    assert collect(hub.hub) == collecting.Collected()
    assert len(contents.names("xorbs")) == 1
    age(hub, 23)
    would = collect(hub.hub, dry_run=True)
    assert (would.xorbs, would.contents) == (1, 2)
    assert collect(hub.hub) == would
    assert contents.names("xorbs") == contents.names("blobs") == []
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []
    api.create_repo("alice/a")
    api.upload_file(
        path_or_fileobj=some_bytes(1_200_000, seed=77), path_in_repo="w.bin", repo_id="alice/a"
    )


def test_uploads_that_were_never_committed_go(hub, xet, maker) -> None:
    data = some_bytes(25_000, seed=2)
    name, body = maker.xorb(data)
    with xet("alice/a", hub=hub) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        http.post("v1/shards", content=maker.shard(maker.file(data)))
        age(hub, 23)
        with hub.hub.database.writing() as session:  # this one is young
            session.execute(update(XetFile).values(created_at=datetime.now(UTC)))
        assert collect(hub.hub).uncommitted == 0
        age(hub, 23)
        removed = collect(hub.hub)
        assert (removed.uncommitted, removed.xorbs) == (1, 1)
        assert http.get(f"v2/reconstructions/{maker.file_hash(data)}").status_code == 404
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_what_a_client_was_told_of_stays(hub, xet, maker) -> None:
    data = some_bytes(25_000, seed=3)
    name, body = maker.xorb(data)
    with xet("alice/a", hub=hub) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        age(hub, 23)
        # a grant that says "already there" begins the three weeks anew
        grant = http.post(f"v1/xorb-grants/default/{name}", json={"length": len(body)})
        assert grant.status_code == 200
        assert collect(hub.hub).xorbs == 0
        assert http.post("v1/shards", content=maker.shard(maker.file(data))).json()["result"] == 1


def test_a_file_that_is_sent_again_stays(hub, xet, maker) -> None:
    data = some_bytes(25_000, seed=4)
    name, body = maker.xorb(data)
    shard = maker.shard(maker.file(data))
    with xet("alice/a", hub=hub) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        http.post("v1/shards", content=shard)
        age(hub, 23)
        http.post("v1/shards", content=shard)  # its commit is yet to come
        assert collect(hub.hub) == collecting.Collected()


def test_a_xorb_comes_back_packed_in_another_way(hub, xet, maker) -> None:
    data = bytes(25_000)
    with xet("alice/a", hub=hub) as http:
        for pack in (None, lambda chunk: (1, lz4.frame.compress(chunk))):
            name, body = maker.xorb(data, pack=pack)
            assert http.post(f"v1/xorbs/default/{name}", content=body).json()["was_inserted"]
            sent = http.post("v1/shards", content=maker.shard(maker.file(data)))
            assert sent.json() == {"result": 1}
            age(hub, 23)
            with open_hub(hub.hub.settings) as collector:  # another process, by rights
                assert collect(collector).xorbs == 1


def test_a_content_that_is_sent_again_just_now_stays(hub, contents) -> None:
    hub.api().delete_repo("alice/a")
    age(hub, 23)
    hub.api().create_repo("alice/b")  # brings .gitattributes again, before it is in any tree
    with hub.hub.database.writing() as session:
        session.execute(delete(StoredFile))
    removed = collect(hub.hub)
    assert removed.contents == 1  # note.txt alone
    assert len(contents.names("blobs")) == 1


def test_what_no_one_names_is_removed(hub, contents) -> None:
    (used,) = contents.names("xorbs")
    contents.write(used.replace(hash_of(used)[2:], "cd" * 31), b"what a crash left")
    age(hub, 2)  # in a bucket, what is younger may yet be named
    collect(hub.hub)
    assert list(map(hash_of, contents.names("xorbs"))) == [hash_of(used)]


@pytest.mark.disk
def test_a_content_that_arrives_while_contents_are_collected_stays(hub, monkeypatch) -> None:
    hub.api().delete_repo("alice/a")
    age(hub, 23)
    store, sha256 = hub.hub.blobs, hashlib.sha256(b"text").hexdigest()
    unlink, arrived = Path.unlink, threading.Event()

    def send() -> None:
        writer = store.writer(limit=10)
        writer.write(b"text")
        store.publish([writer.finish()])
        arrived.set()

    sender = threading.Thread(target=send)

    def unlink_late(path: Path, **options: object) -> None:
        if path.name == sha256[2:]:
            sender.start()  # the collector has looked at the time of the old file
            assert not arrived.wait(0.3)
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink_late)
    assert collect(hub.hub).contents == 2
    sender.join(10)
    assert b"".join(store.read(sha256)) == b"text"


@pytest.fixture
def offer(hub):
    """Offer a content to LFS; return the address to send it to, None where that is not needed."""

    def ask(data: bytes) -> str | None:
        file = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        body = {"operation": "upload", "transfers": ["basic"], "objects": [file]}
        with hub.http() as http:
            answer = http.post("/alice/a.git/info/lfs/objects/batch", json=body)
        actions = answer.json()["objects"][0].get("actions")
        return None if actions is None else actions["upload"]["href"]

    return ask


@pytest.fixture
def send(hub, offer):
    """Send a content by LFS, to wherever the hub says."""

    def put(data: bytes) -> None:
        assert httpx.put(offer(data), content=data).status_code == 200
        sent = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        with hub.http() as http:
            answer = http.post("/alice/a.git/info/lfs/objects/verify", json=sent)
        assert answer.status_code == 200

    return put


def test_a_content_that_is_offered_again_stays(hub, offer, send) -> None:
    data = some_bytes(20_000, seed=8)
    send(data)
    age(hub, 23)
    assert offer(data) is None
    assert collect(hub.hub) == collecting.Collected()
    age(hub, 23)
    assert collect(hub.hub).uncommitted == 1
    assert offer(data) is not None


def test_a_file_in_chunks_that_is_offered_again_stays(hub, offer, xet, maker) -> None:
    data = some_bytes(25_000, seed=6)
    name, body = maker.xorb(data)
    with xet("alice/a", hub=hub) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        http.post("v1/shards", content=maker.shard(maker.file(data)))
    age(hub, 23)
    assert offer(data) is None
    assert collect(hub.hub) == collecting.Collected()


def test_a_lost_content_is_asked_for_again(hub, contents, offer, send) -> None:
    data = some_bytes(20_000, seed=9)
    send(data)
    assert offer(data) is None
    contents.remove(blob_of(data))
    assert len(list(check(hub.hub))) == 1
    send(data)
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_what_is_damaged_is_set_aside_and_heals(hub, contents, command, at) -> None:
    at(hub)
    api = hub.api()
    for name in contents.names("xorbs") + contents.names("blobs"):
        flip(contents, name)
    with hub.http() as http:
        before = http.get("/api/models/alice/a/xet-read-token/main").json()["casUrl"]
    assert len(list(scrub(hub.hub))) == 3
    assert command("scrub", "--set-aside").stdout.count("was set aside") == 3
    assert len(list(check(hub.hub))) == 3
    with hub.http() as http:  # clients must not go on believing what they know of the old stock
        assert http.get("/api/models/alice/a/xet-read-token/main").json()["casUrl"] != before
    api.create_repo("alice/b")  # the same .gitattributes
    for name, content in (("w.bin", some_bytes(1_200_000, seed=1)), ("note.txt", b"text")):
        api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id="alice/b")
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []
    with hub.http() as http:
        found = http.get("/alice/a/resolve/main/w.bin").content
    assert found == some_bytes(1_200_000, seed=1)


def test_what_was_sent_again_meanwhile_is_not_set_aside(hub, contents, monkeypatch) -> None:
    sha256 = hashlib.sha256(b"text").hexdigest()
    flip(contents, blob_of(b"text"))
    kind = type(hub.hub.blobs)
    read = kind.read

    def read_and_heal(store, name, **span):
        pieces = list(read(store, name, **span))
        if name == sha256:
            writer = store.writer(limit=10)
            writer.write(b"text")
            store.publish([writer.finish()])
        return iter(pieces)

    monkeypatch.setattr(kind, "read", read_and_heal)
    assert len(list(scrub(hub.hub, set_aside=True))) == 1
    monkeypatch.undo()
    assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


@pytest.mark.parametrize("spoil", ["flip", "cut", "remove"])
def test_a_xorb_heals_when_it_is_sent_again(hub, contents, xet, maker, spoil) -> None:
    name, body = maker.xorb(some_bytes(25_000, seed=5))
    with xet("alice/a", hub=hub) as http:
        for _ in range(2):
            http.post(f"v1/xorbs/default/{name}", content=body)
            lies = newest(contents, name)
            if spoil == "flip":
                flip(contents, lies)
            elif spoil == "cut":
                contents.write(lies, b"short")
            else:
                contents.remove(lies)
            assert len(list(scrub(hub.hub))) == 1
            http.post(f"v1/xorbs/default/{name}", content=body)
            assert list(check(hub.hub)) == list(scrub(hub.hub)) == []


def test_an_address_is_good_for_one_packing_alone(hub, contents, xet, maker) -> None:
    data = bytes(25_000)
    name, body = maker.xorb(data)
    with xet("alice/a", hub=hub) as http:
        http.post(f"v1/xorbs/default/{name}", content=body)
        http.post("v1/shards", content=maker.shard(maker.file(data)))
        found = f"v2/reconstructions/{maker.file_hash(data)}"

        def fetch(part: dict) -> httpx.Response:
            span = part["ranges"][0]["bytes"]
            return http.get(part["url"], headers={"Range": f"bytes={span['start']}-{span['end']}"})

        old = http.get(found).json()["xorbs"][name][0]
        assert fetch(old).content == body
        contents.remove(newest(contents, name))
        packed = maker.xorb(data, pack=lambda chunk: (1, lz4.frame.compress(chunk)))[1]
        # a client asks first whether it is here, and it is not
        grant = http.post(f"v1/xorb-grants/default/{name}", json={"length": len(packed)})
        assert grant.status_code == 201
        assert http.put(grant.json()["url"], content=packed).status_code == 200
        assert fetch(old).status_code in (403, 404)  # refused, or not there
        assert fetch(http.get(found).json()["xorbs"][name][0]).content == packed
    assert list(scrub(hub.hub)) == []
