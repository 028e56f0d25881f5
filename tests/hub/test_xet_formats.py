"""Hashes, xorbs and shards: byte for byte what hf_xet makes, and nothing malformed gets in."""

import io
import random
import struct

import lz4.frame
import pytest

from fin_qlora_hub.errors import BadRequestError, TooLargeError
from fin_qlora_hub.xet import hashes, xorbs
from fin_qlora_hub.xet.shards import dedup_answer, read_files
from fin_qlora_hub.xet.xorbs import XorbIndex, XorbReader


def packed(chunk: bytes, *, scheme: int = 0, size: int | None = None, version: int = 0) -> bytes:
    length = len(chunk) if size is None else size
    return (
        bytes([version])
        + len(chunk).to_bytes(3, "little")
        + bytes([scheme])
        + (length.to_bytes(3, "little") + chunk)
    )


def read(body: bytes, *, piece: int = 1 << 20) -> XorbIndex:
    reader = XorbReader()
    for start in range(0, len(body), piece):
        reader.feed(body[start : start + piece])
    return reader.finish()


def by_four(data: bytes) -> bytes:
    return b"".join(data[offset::4] for offset in range(4))


def test_known_hashes() -> None:
    chunk = hashes.chunk_hash(b"hello world")
    assert hashes.to_text(chunk) == (
        "4e39378b9d359f118190557a1f44130219a54e5fcfa07bd96cf50b466fe651b1"
    )
    assert hashes.to_text(hashes.file_hash([(chunk, 11)])) == (
        "f15edd43b7e85cfd25e2758ffe13b99fdd09dfa817e8d9f6548722a7a126db7f"
    )
    assert hashes.to_text(hashes.run_hash(chunk)) == (
        "22ef2fdcff5cea306e42ad7e15ed8a0c5e789e7d2ec34658c10d2758946847da"
    )
    assert hashes.from_text(hashes.to_text(chunk)) == chunk


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" + "0" * 63, "A" + "0" * 63])
def test_what_is_no_hash(text) -> None:
    with pytest.raises(ValueError, match="64 lower-case"):
        hashes.from_text(text)


def test_groups_of_a_merkle_tree() -> None:
    def node(last: int) -> tuple[bytes, int]:
        return bytes(24) + struct.pack("<Q", last), 1

    def groups(*last: int) -> list[tuple[int, int]]:
        return list(hashes._groups([node(number) for number in last]))

    assert groups(1, 1) == [(0, 2)]
    assert groups(4, 4, 1, 1) == [(0, 4)]  # the first two never close a group
    assert groups(1, 1, 4, 1, 1) == [(0, 3), (3, 5)]
    assert groups(*[1] * 12) == [(0, 9), (9, 12)]
    assert groups(*[4] * 7) == [(0, 3), (3, 6), (6, 7)]
    single = node(5)
    assert hashes.merkle_root([single]) == single[0]


@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 20])
def test_a_xorb_with_every_scheme(piece) -> None:
    generator = random.Random(3)
    chunks = [generator.randbytes(300), b"a" * 5000, bytes(range(256)) * 4 + b"xyz"]
    body = packed(chunks[0])
    body += packed(lz4.frame.compress(chunks[1]), scheme=1, size=5000)
    body += packed(lz4.frame.compress(by_four(chunks[2])), scheme=2, size=len(chunks[2]))
    index = read(body, piece=piece)
    assert [index.chunk(n) for n in range(3)] == [hashes.chunk_hash(chunk) for chunk in chunks]
    assert [index.raw_size(n, n + 1) for n in range(3)] == [len(chunk) for chunk in chunks]
    assert index.packed_offset(3) == len(body)
    assert XorbIndex.decode(index.encode(), chunks=3) == index
    with pytest.raises(ValueError, match="another length"):
        XorbIndex.decode(index.encode()[1:], chunks=3)


@pytest.mark.parametrize("length", range(1, 9))
def test_bytes_in_groups_of_any_length(length) -> None:
    data = bytes(range(length))
    assert xorbs._ungrouped(by_four(data)) == data


def test_an_old_footer_is_left_out() -> None:
    body = packed(b"chunk")
    reader = XorbReader()
    for byte in body + b"XETBLOB" + b"\1anything at all":
        reader.feed(bytes([byte]))
    assert len(reader.finish()) == 1
    assert reader.size == len(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0" * 7,
        packed(b"chunk")[:-1],
        packed(b"chunk", version=1),
        packed(b"chunk", scheme=3),
        packed(b"chunk", size=0),
        packed(b""),
        packed(b"chunk", size=4),
        packed(b"chunk", size=6),
        packed(b"no frame", scheme=1),
        packed(lz4.frame.compress(b"a" * 100), scheme=1, size=99),
        packed(lz4.frame.compress(b"a" * 100), scheme=1, size=101),
        packed(lz4.frame.compress(b"a" * 100)[:-3], scheme=1, size=100),
        packed(lz4.frame.compress(b"a" * 100) + b"more", scheme=1, size=100),
        packed(lz4.frame.compress(b"a" * 10_000_000), scheme=1, size=128 * 1024),
        packed(bytes(128 * 1024 + 1)),
        packed(b"chunk") + b"garbage that is no header",
    ],
)
def test_a_malformed_xorb(body) -> None:
    with pytest.raises(BadRequestError, match="malformed"):
        read(body)


def test_a_xorb_has_limits(monkeypatch) -> None:
    monkeypatch.setattr(xorbs, "MAX_CHUNKS", 3)
    assert len(read(packed(b"x") * 3)) == 3
    with pytest.raises(TooLargeError):
        read(packed(b"x") * 4)
    monkeypatch.setattr(xorbs, "MAX_CHUNKS", 100)
    monkeypatch.setattr(xorbs, "MAX_RAW_BYTES", 10)
    with pytest.raises(TooLargeError):
        read(packed(b"four") * 3)


def test_a_shard_is_read(maker) -> None:
    one, two = b"1" * 25_000, b"2" * 100
    shard = maker.shard(maker.file(one), maker.file(two)) + b"tables of an old client"
    files = list(read_files(io.BytesIO(shard)))
    assert [file.file_hash for file in files] == [maker.file_hash(one), maker.file_hash(two)]
    assert [file.size for file in files] == [25_000, 100]
    assert (files[0].segments[0].start, files[0].segments[0].end) == (0, 3)


def test_a_malformed_shard(maker) -> None:
    good = maker.shard(maker.file(b"x"))
    for bad in (
        b"",
        b"x" * 48,
        good[:60],
        good[:100],
        maker.header().replace(b"\x02" + bytes(7), b"\x09" + bytes(7)) + maker.end(),
        maker.shard(maker.file(b"x", flags=1 << 31)),
        maker.shard(maker.file(b"x", flags=1 << 30)),
        maker.header() + struct.pack("<32s4I", bytes(32), 3 << 30, 0, 0, 0) + maker.end(),
        maker.header() + struct.pack("<32s4I", bytes(32), 3 << 30, 9, 0, 0) + maker.end(),
    ):
        with pytest.raises(BadRequestError, match="malformed"):
            list(read_files(io.BytesIO(bad)))


def test_a_shard_of_too_many_segments_is_not_read(maker, monkeypatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.xet.shards.MAX_SEGMENTS", 2)
    file = maker.file(b"x")
    assert len(list(read_files(io.BytesIO(maker.shard(file, file))))) == 2
    with pytest.raises(TooLargeError):
        list(read_files(io.BytesIO(maker.shard(file, file, file))))
    endless = maker.header() + struct.pack("<32s4I", bytes(32), 3 << 30, 3, 0, 0)
    shard = io.BytesIO(endless + maker.end() * 1000)
    with pytest.raises(TooLargeError):
        list(read_files(shard))
    assert shard.tell() == len(endless)


def test_a_dedup_answer_can_be_recognised_only_with_the_chunk(maker) -> None:
    data = b"secret" * 5000
    name, body = maker.xorb(data)
    key = bytes(range(32))
    answer = dedup_answer([(name, read(body))], key=key, created=1, expires=2)
    chunk = maker.nodes(data)[0][0]
    assert chunk not in answer
    assert hashes.keyed(key, chunk) in answer
    footer = struct.unpack("<9Q32s2Q6Q4Q", answer[-200:])
    assert footer[0] == 1
    assert footer[-1] == len(answer) - 200
    assert (footer[1], footer[2]) == (48, 96)
