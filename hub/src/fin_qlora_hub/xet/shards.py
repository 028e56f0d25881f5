"""Shards: which chunks make up which files, as clients send them and as dedup answers list them.

All numbers are little-endian. A header of 48 bytes is followed by records of 48 bytes: the files,
an end record, the xorbs, an end record. What older clients append is not needed.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from fin_qlora_hub.errors import BadRequestError, TooLargeError
from fin_qlora_hub.xet.hashes import HASH_BYTES, from_text, keyed, to_text
from fin_qlora_hub.xet.xorbs import XorbIndex

MAX_BYTES = 64 * 1024 * 1024
# A file of 100 GB has about 1,600 segments, one of nothing but zeros eight for each megabyte.
MAX_SEGMENTS = 200_000
_TAG = bytes.fromhex("48465265706f4d6574614461746100556967456a7b815783a5bdd95ccdd14aa9")
_VERSION = 2
_HEADER = struct.Struct("<32sQQ")
_RECORD = struct.Struct("<32s4I")
RECORD_BYTES = _RECORD.size
_END = b"\xff" * HASH_BYTES
_WITH_VERIFICATION = 1 << 31
_WITH_SHA256 = 1 << 30
_FOOTER = struct.Struct("<9Q32s2Q6Q4Q")
_FOOTER_VERSION = 1


@dataclass(frozen=True)
class Segment:
    """A run of chunks of a xorb that is a part of a file; `size` is in bytes, unpacked."""

    xorb: str
    start: int
    end: int
    size: int


@dataclass(frozen=True)
class ClaimedFile:
    """A file as a client describes it; `runs` holds the verification hash of each segment."""

    file_hash: str
    sha256: str
    segments: tuple[Segment, ...]
    runs: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """The size of the file, in bytes."""
        return sum(segment.size for segment in self.segments)


def read_files(shard: BinaryIO) -> Iterator[ClaimedFile]:
    """Yield the files of an uploaded shard; raises BadRequestError where it is malformed.

    Raises TooLargeError before it reads more than MAX_SEGMENTS segments of all files together.
    """
    header = shard.read(_HEADER.size)
    if len(header) != _HEADER.size or not header.startswith(_TAG):
        raise _malformed("it does not begin as one")
    _, version, _ = _HEADER.unpack(header)
    if version != _VERSION:
        raise _malformed(f"its version is {version}, this hub reads {_VERSION}")
    total = 0
    while True:
        raw, flags, count, _, _ = _record(shard)
        if raw == _END:
            return
        if not flags & _WITH_VERIFICATION or not flags & _WITH_SHA256:
            raise _malformed("a file comes without its verification or SHA-256")
        if not count:
            raise _malformed("a file has no segments")
        total += count
        if total > MAX_SEGMENTS:
            raise TooLargeError(f"A shard may refer to {MAX_SEGMENTS:,} runs of chunks.")
        segments = tuple(_segment(shard) for _ in range(count))
        runs = tuple(_record(shard)[0] for _ in range(count))
        sha256 = to_text(_record(shard)[0])
        yield ClaimedFile(to_text(raw), sha256, segments, runs)


def _segment(shard: BinaryIO) -> Segment:
    raw, _flags, size, start, end = _record(shard)
    return Segment(to_text(raw), start, end, size)


def _record(shard: BinaryIO) -> tuple[bytes, int, int, int, int]:
    data = shard.read(RECORD_BYTES)
    if len(data) != RECORD_BYTES:
        raise _malformed("it ends within a record")
    raw, one, two, three, four = _RECORD.unpack(data)
    return raw, one, two, three, four


def _malformed(reason: str) -> BadRequestError:
    return BadRequestError(f"The shard is malformed: {reason}.")


def dedup_answer(
    xorbs: Iterable[tuple[str, XorbIndex]], *, key: bytes, created: int, expires: int
) -> bytes:
    """Return a shard that tells a client which chunks need not be sent.

    The hashes of the chunks are keyed, so that only who has a chunk recognises it; `created` and
    `expires` are in seconds since 1970.
    """
    parts = [_HEADER.pack(_TAG, _VERSION, _FOOTER.size), _RECORD.pack(_END, 0, 0, 0, 0)]
    files_at, xorbs_at = _HEADER.size, _HEADER.size + RECORD_BYTES
    packed_bytes = raw_bytes = records = 0
    for xorb, index in xorbs:
        count, raw, packed = (
            len(index),
            index.raw_offset(len(index)),
            index.packed_offset(len(index)),
        )
        parts.append(_RECORD.pack(from_text(xorb), 0, count, raw, packed))
        for position, (chunk, size) in enumerate(index.nodes()):
            offset = index.raw_offset(position)
            parts.append(_RECORD.pack(keyed(key, chunk), offset, size, 0, 0))
        packed_bytes, raw_bytes = packed_bytes + packed, raw_bytes + raw
        records += 1 + count
    parts.append(_RECORD.pack(_END, 0, 0, 0, 0))
    end = xorbs_at + (records + 1) * RECORD_BYTES
    lookups = (end, 0, end, 0, end, 0)
    sizes = (packed_bytes, raw_bytes, raw_bytes, end)
    reserved = (0,) * 6
    parts.append(
        _FOOTER.pack(
            *(_FOOTER_VERSION, files_at, xorbs_at, *lookups),
            *(key, created, expires, *reserved, *sizes),
        )
    )
    return b"".join(parts)
