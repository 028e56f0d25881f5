"""What every store promises, on the local disk and in a bucket."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from throwaway_s3 import Moto, Swift
from waiting import wait_until

from fin_qlora_hub.errors import BadRequestError, TooLargeError, UnreachableError, UnusableDataError
from fin_qlora_hub.hub import Stores, open_stores
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores import bucket as buckets
from fin_qlora_hub.stores import disk, parts
from fin_qlora_hub.stores.blobs import BlobStore, StagedBlob
from fin_qlora_hub.stores.bucket import Bucket
from fin_qlora_hub.xet.shards import Segment
from fin_qlora_hub.xet.store import StoredXorb

BYTES = random.Random(1).randbytes(300_000)


@pytest.fixture(scope="module", params=["disk", "moto", "swift"])
def server(request) -> Iterator[Moto | Swift | None]:
    if request.param == "disk":
        yield None
        return
    running = {"moto": Moto, "swift": Swift}[request.param]()
    yield running
    running.remove()


@pytest.fixture
def settings(server, tmp_path) -> Settings:
    if server is None:
        return Settings(data_dir=tmp_path)
    return Settings(data_dir=tmp_path, **server.settings(server.new_bucket()), s3_retry_seconds=1)


@pytest.fixture
def stores(settings) -> Iterator[Stores]:
    with open_stores(settings) as opened:
        yield opened


@pytest.fixture
def blobs(stores) -> BlobStore:
    return stores.storage.blobs


@pytest.fixture
def bucket(settings) -> Iterator[Bucket]:
    if settings.storage_url is None:
        pytest.skip("about a bucket")
    opened = Bucket(settings)
    yield opened
    opened.close()


def stage(blobs: BlobStore, data: bytes, *, inline: bool = True) -> StagedBlob:
    writer = blobs.writer(limit=len(data), inline=inline)
    writer.write(data)
    return writer.finish()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_content_is_there_once_it_is_published(blobs) -> None:
    staged = stage(blobs, BYTES)
    name = staged.content.sha256
    assert name == hashlib.sha256(BYTES).hexdigest()
    assert (staged.content.size, len(staged.content.git_sha1 or "")) == (len(BYTES), 40)
    assert b"".join(staged.read()) == BYTES
    assert not blobs.holds(name)
    assert list(blobs.contents()) == []
    with pytest.raises(FileNotFoundError):
        blobs.read(name)
    before = time.time() - 2  # stores tell whole seconds
    blobs.publish([staged])
    assert blobs.holds(name)
    assert blobs.sizes([name, "ab" * 32]) == {name: len(BYTES)}
    ((found, sent_at),) = blobs.contents()
    assert found == name
    assert before <= sent_at <= time.time() + 1
    staged.discard()
    assert b"".join(blobs.read(name)) == BYTES


@pytest.mark.parametrize("size", [0, 1, 4_999_999])
def test_any_part_of_a_content_can_be_read(blobs, monkeypatch, size) -> None:
    data = random.Random(size).randbytes(size)
    staged = stage(blobs, data, inline=False)
    assert staged.content.git_sha1 is None
    blobs.publish([staged])
    for start, length in ((0, None), (0, size), (1, 10), (size - 1, 100), (size, 5), (7, 0)):
        if start < 0:
            continue
        wanted = data[start:] if length is None else data[start : start + length]
        found = blobs.read(staged.content.sha256, start=start, length=length)
        assert b"".join(found) == wanted, (start, length)


def test_a_large_content_goes_in_parts(blobs) -> None:
    data = random.Random(2).randbytes(2 * buckets.PART_BYTES + 5)
    staged = stage(blobs, data)
    blobs.publish([staged])
    digest = hashlib.sha256()
    for piece in blobs.read(staged.content.sha256):
        assert len(piece) <= buckets.PIECE_BYTES
        digest.update(piece)
    assert digest.hexdigest() == staged.content.sha256


def test_a_piece_is_fetched_while_the_one_before_it_is_used(bucket, monkeypatch) -> None:
    data = random.Random(3).randbytes(350)
    bucket.put("blobs/x", data)
    asked: list[tuple[int, int]] = []
    fetch = bucket._piece

    def noting(name: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return fetch(name, start, end)

    monkeypatch.setattr(bucket, "_piece", noting)
    pieces = bucket.read("blobs/x", start=50, piece_bytes=100)
    assert next(pieces) == data[50:150]
    assert wait_until(lambda: asked == [(50, 150), (150, 250)])
    assert b"".join(pieces) == data[150:]
    assert asked[2:] == [(250, 350)]
    bucket.read("blobs/x", piece_bytes=100).close()  # nobody wants the rest


def test_what_is_too_large_or_forgotten_leaves_nothing(blobs, settings) -> None:
    writer = blobs.writer(limit=3)
    with pytest.raises(TooLargeError):
        writer.write(b"four")
    writer.discard()
    stage(blobs, b"abc").discard()
    assert files_below(settings.data_dir) == []
    assert list(blobs.contents()) == []


def test_a_sweep_takes_what_was_never_published(blobs, settings, monkeypatch) -> None:
    kept, lost = stage(blobs, b"kept"), stage(blobs, b"lost")
    blobs.publish([kept])
    kept.discard()
    assert blobs.remove_old() == 0  # it may yet be published
    monkeypatch.setattr(disk, "PATIENCE_SECONDS", -1)
    assert blobs.remove_old() == 1
    stage(blobs, b"lost too")
    assert blobs.sweep() == 1
    lost.discard()
    assert [name for name, _ in blobs.contents()] == [kept.content.sha256]


def test_only_what_is_old_is_removed(blobs) -> None:
    staged = [stage(blobs, text) for text in (b"a", b"bb")]
    blobs.publish(staged)
    names = [blob.content.sha256 for blob in staged]
    assert blobs.remove_unused(names, before=time.time() - 3600) == {}
    late = time.time() + 3600
    expected = dict(zip(names, (1, 2), strict=True))
    assert blobs.remove_unused([*names, "ab" * 32], before=late, dry_run=True) == expected
    assert blobs.holds(names[0])
    assert blobs.remove_unused(names, before=late) == expected
    assert list(blobs.contents()) == []


def test_what_is_damaged_is_set_aside_unless_it_came_anew(blobs) -> None:
    staged = stage(blobs, b"text")
    blobs.publish([staged])
    name = staged.content.sha256
    version = blobs.version(name)
    assert version is not None
    blobs.copy_aside(name)
    blobs.set_aside(name, version=version + "x")
    assert blobs.holds(name)
    blobs.set_aside(name, version=version)
    assert not blobs.holds(name)
    assert list(blobs.contents()) == []
    assert blobs.version(name) is None
    blobs.copy_aside(name)
    blobs.set_aside(name, version=version)  # harmless once it is gone


def test_a_large_damaged_content_keeps_no_writer_waiting(blobs, bucket, monkeypatch) -> None:
    """It may take minutes to copy it: only its removal happens in the writing transaction."""
    monkeypatch.setattr(buckets, "MAX_COPIED_BYTES", 3)
    staged = stage(blobs, b"text")
    blobs.publish([staged])
    name = staged.content.sha256
    version = blobs.version(name) or ""
    blobs.copy_aside(name)
    kept = f"damaged/blobs/{name[:2]}/{name[2:]}"
    assert b"".join(bucket.read(kept)) == b"text"

    def copied(*_: object, **__: object) -> None:
        raise AssertionError("copied in the writing transaction")

    for copying in ("copy", "put_pieces"):
        monkeypatch.setattr(Bucket, copying, copied)
    blobs.set_aside(name, version=version)
    assert not blobs.holds(name)


def test_bytes_that_came_anew_are_told_from_those_that_rotted(blobs) -> None:
    """A store that loses bits does not change the ETag, which is that of what should be there."""
    data = b"text"
    staged = stage(blobs, data)
    blobs.publish([staged])
    name = staged.content.sha256
    version = blobs.version(name)

    def came_anew() -> bool:
        blobs.remove_unused([name], before=time.time() + 3600)
        blobs.publish([stage(blobs, data)])
        return blobs.version(name) != version  # stores tell whole seconds

    assert wait_until(came_anew, seconds=10)
    blobs.set_aside(name, version=version or "")
    assert blobs.holds(name)


def test_what_has_gone_since_is_published_again(blobs, bucket) -> None:
    staged = stage(blobs, b"text")
    blobs.publish([staged])
    blobs.remove_unused([staged.content.sha256], before=time.time() + 3600)
    blobs.publish([staged])
    assert b"".join(blobs.read(staged.content.sha256)) == b"text"


def test_a_bucket_lists_more_than_one_page(bucket) -> None:
    names = {f"blobs/{n:04}" for n in range(1100)}
    bucket._at_once(lambda name: bucket.put(name, b"x"), sorted(names)[:1100])
    assert {one.name for one in bucket.objects("blobs")} == names
    bucket.remove_all(names)
    assert list(bucket.objects("blobs")) == []


def test_pieces_that_fail_store_nothing(bucket) -> None:
    size = 2 * buckets.PART_BYTES

    def pieces() -> Iterator[bytes]:
        for _ in range(size // 2**20):
            yield bytes(2**20)
        raise BadRequestError("wrong hash")

    for total in (size, 3):
        with pytest.raises(BadRequestError, match="wrong hash"):
            bucket.put_pieces("blobs/x", pieces(), size=total)
        assert bucket.find("blobs/x") is None
    bucket.put("blobs/whole", bytes(size))
    bucket.put_pieces("blobs/x", bucket.read("blobs/whole"), size=size)
    found = bucket.find("blobs/x")
    assert found is not None
    assert found.size == size


def test_a_bucket_that_is_not_there_is_named(server, tmp_path) -> None:
    if server is None:
        pytest.skip("about a bucket")
    bucket = Bucket(Settings(data_dir=tmp_path, **server.settings("no-such-bucket")))
    with pytest.raises(UnusableDataError, match="no bucket 'no-such-bucket'"):
        bucket.require()
    # Not as if only the object were missing: a client would be told to send it again, for ever.
    for call in (lambda: bucket.put("blobs/x", b"text"), lambda: list(bucket.objects("blobs"))):
        with pytest.raises(UnreachableError) as refused:
            call()
        assert "NoSuchBucket" in refused.value.reason
    bucket.close()


def test_a_store_that_is_gone_says_so_and_may_come_back(server, tmp_path) -> None:
    if server is None:
        pytest.skip("about a bucket")
    options = server.settings(server.new_bucket(), endpoint="http://127.0.0.1:9")
    bucket = Bucket(Settings(data_dir=tmp_path, **options, s3_retry_seconds=0.2))
    for _ in range(2):
        with pytest.raises(UnreachableError, match="object store cannot be reached"):
            bucket.find("x")
    assert "secret" not in repr(bucket.place)
    bucket.close()


# ------------------------------------------------------------------------------------------- xorbs


@pytest.fixture
def keep(stores, maker) -> Callable[..., StoredXorb]:
    """Receive a xorb and put it in its place."""

    def receive(data: bytes, known: StoredXorb | None = None, **options) -> StoredXorb:
        name, body = maker.xorb(data, **options)
        writer = stores.storage.xorbs.writer()
        writer.write(body)
        placed = stores.storage.xorbs.publish(writer.finish(expected=name), known)
        writer.discard()
        return placed

    return receive


def test_a_xorb_is_read_chunk_by_chunk(stores, keep, settings) -> None:
    xorbs = stores.storage.xorbs
    xorb = keep(BYTES[:25_000])
    assert xorbs.holds(xorb)
    assert xorbs.present([xorb, StoredXorb("ab" * 32, 1, 1, 1)]) == {xorb.hash}
    assert xorbs.is_sound(xorb)
    index = xorbs.index(xorb)
    assert len(index) == 3
    found = xorbs.unpacked(xorb, Segment(xorb.hash, 1, 3, 15_000), index)
    assert b"".join(found) == BYTES[10_000:25_000]
    absent = StoredXorb("ab" * 32, 10, 1, 1)
    assert not xorbs.is_sound(absent)
    with pytest.raises(UnusableDataError, match="lost or damaged"):
        xorbs.index(absent)
    with pytest.raises(FileNotFoundError):
        xorbs.read(absent, start=0, length=5)


def test_a_xorb_with_another_hash_is_refused(stores, maker) -> None:
    _, body = maker.xorb(BYTES[:100])
    writer = stores.storage.xorbs.writer()
    writer.write(body)
    with pytest.raises(BadRequestError, match="nothing was stored"):
        writer.finish(expected="ab" * 32)
    writer.discard()
    assert list(stores.storage.xorbs.files.kept()) == []


def test_a_xorb_that_is_sent_again_heals(stores, keep) -> None:
    xorbs = stores.storage.xorbs
    xorb = keep(BYTES[:25_000])
    xorbs.files.set_aside(xorb)
    assert not xorbs.holds(xorb)
    again = keep(BYTES[:25_000], xorb)
    assert xorbs.is_sound(again)


def test_what_is_kept_can_be_removed(stores, keep, monkeypatch) -> None:
    monkeypatch.setattr(disk, "PATIENCE_SECONDS", -3600)
    files = stores.storage.xorbs.files
    xorb = keep(BYTES[:100])
    (kept,) = files.kept()
    assert kept.hash == xorb.hash
    assert kept.made in (None, xorb.made)
    files.remove(kept)
    files.remove(kept)
    assert list(files.kept()) == []
    assert files.sizes([xorb]) == {}


def test_a_xorb_that_may_yet_be_named_is_not_offered_for_removal(stores, keep, bucket) -> None:
    keep(BYTES[:100])
    assert list(stores.storage.xorbs.files.kept()) == []


# ------------------------------------------------------------------------------------------- parts


def test_parts_wait_for_the_last_one(stores, settings, monkeypatch) -> None:
    store = stores.parts

    def send(number: int, data: bytes) -> None:
        part = store.receive(len(data))
        part.write(data)
        store.keep(part, "upload", number)
        part.discard()

    send(1, b"old")
    send(1, b"abc")
    with pytest.raises(BadRequestError, match="Part 2"):
        store.joined("upload", 2)
    send(2, b"de")
    assert b"".join(store.joined("upload", 2)) == b"abcde"
    store.receive(3).close()
    assert store.sweep() == 1
    assert store.remove_old() == 0
    store.forget("upload", 2)
    with pytest.raises(BadRequestError, match="Part 1"):
        store.joined("upload", 2)
    send(1, b"abc")
    monkeypatch.setattr(parts, "PATIENCE_SECONDS", -3600)
    assert store.remove_old() == 1
    assert files_below(settings.data_dir) == []
