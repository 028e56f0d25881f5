"""Xorbs: runs of packed chunks, read and verified as they arrive.

Each chunk stands behind a header of 8 bytes: version (0), packed length (3 bytes), scheme, raw
length (3 bytes), all little-endian.
"""

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import lz4.frame

from fin_qlora_hub.errors import BadRequestError, TooLargeError
from fin_qlora_hub.xet.hashes import HASH_BYTES, chunk_hash, merkle_root, to_text

MAX_RAW_BYTES = 64 * 1024 * 1024
MAX_CHUNKS = 8192
MAX_CHUNK_BYTES = 128 * 1024
MAX_PACKED_BYTES = 2 * MAX_CHUNK_BYTES
HEADER_BYTES = 8
# Incompressible chunks are stored as they are, behind their headers; a footer may follow.
MAX_BODY_BYTES = MAX_RAW_BYTES + MAX_CHUNKS * HEADER_BYTES + 2 * 1024 * 1024
ENTRY_BYTES = HASH_BYTES + 8
STORED, LZ4, LZ4_BY_FOUR = 0, 1, 2
_FOOTER_TAG = b"XETBLOB"
_HEADER = struct.Struct("<BHBBHB")


@dataclass(frozen=True)
class XorbIndex:
    """Which chunks a xorb holds: their hashes, one after another, and where each ends.

    `packed_ends` counts bytes of the xorb, `raw_ends` bytes of the unpacked chunks.
    """

    hashes: bytes
    packed_ends: "array[int]"
    raw_ends: "array[int]"

    def __len__(self) -> int:
        return len(self.packed_ends)

    def packed_offset(self, chunk: int) -> int:
        """Return where a chunk begins, or the last one ends."""
        return self.packed_ends[chunk - 1] if chunk else 0

    def raw_offset(self, chunk: int) -> int:
        """Return how many unpacked bytes stand before a chunk."""
        return self.raw_ends[chunk - 1] if chunk else 0

    def raw_size(self, start: int, end: int) -> int:
        """Return the unpacked size of the chunks from `start` up to `end`."""
        return self.raw_offset(end) - self.raw_offset(start)

    def chunk(self, position: int) -> bytes:
        """Return the hash of a chunk."""
        return self.hashes[position * HASH_BYTES : (position + 1) * HASH_BYTES]

    def nodes(self, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int]]:
        """Yield hash and unpacked size of the chunks from `start` up to `end`."""
        for position in range(start, len(self) if end is None else end):
            yield self.chunk(position), self.raw_size(position, position + 1)

    @cached_property
    def hash(self) -> str:
        """The hash of the xorb."""
        return to_text(merkle_root(self.nodes()))

    def encode(self) -> bytes:
        """Return the bytes under which the index is kept behind the chunks."""
        return self.hashes + self.packed_ends.tobytes() + self.raw_ends.tobytes()

    @classmethod
    def decode(cls, data: bytes, *, chunks: int) -> "XorbIndex":
        """Read what `encode` returned; raises ValueError."""
        if len(data) != chunks * ENTRY_BYTES:
            raise ValueError("the index of the xorb has another length than its chunks need")
        hashes, rest = data[: chunks * HASH_BYTES], data[chunks * HASH_BYTES :]
        packed, raw = array("I"), array("I")
        packed.frombytes(rest[: chunks * 4])
        raw.frombytes(rest[chunks * 4 :])
        return cls(hashes, packed, raw)


class XorbReader:
    """Feed it a xorb in pieces; it refuses what is malformed as soon as that shows."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._hashes = bytearray()
        self._packed_ends = array("I")
        self._raw_ends = array("I")
        self._in_footer = False

    @property
    def size(self) -> int:
        """How many bytes the chunks read so far take, with their headers."""
        return self._packed_ends[-1] if self._packed_ends else 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raises BadRequestError or TooLargeError."""
        if self._in_footer:
            return
        self._rest += data
        with memoryview(self._rest) as view:
            used = self._take(view)
        del self._rest[:used]

    def finish(self) -> XorbIndex:
        """Say that the body has ended."""
        if self._rest and not self._in_footer:
            raise _malformed("it ends within a chunk")
        if not self._packed_ends:
            raise _malformed("it holds no chunk")
        return XorbIndex(bytes(self._hashes), self._packed_ends, self._raw_ends)

    def _take(self, view: memoryview) -> int:
        position = 0
        while len(view) - position >= HEADER_BYTES:
            if view[position : position + len(_FOOTER_TAG)] == _FOOTER_TAG:
                self._in_footer = True  # written by old clients; it says nothing new
                return len(view)
            packed, scheme, raw = read_header(view[position : position + HEADER_BYTES])
            end = position + HEADER_BYTES + packed
            if end > len(view):
                break
            data = unpack(view[position + HEADER_BYTES : end], scheme=scheme, size=raw)
            self._add(chunk_hash(data), packed=HEADER_BYTES + packed, raw=raw)
            position = end
        return position

    def _add(self, chunk: bytes, *, packed: int, raw: int) -> None:
        raw_end = raw + (self._raw_ends[-1] if self._raw_ends else 0)
        if len(self._raw_ends) >= MAX_CHUNKS or raw_end > MAX_RAW_BYTES:
            raise TooLargeError(
                f"A xorb may hold {MAX_CHUNKS:,} chunks and {MAX_RAW_BYTES:,} bytes unpacked."
            )
        self._hashes += chunk
        self._packed_ends.append(self.size + packed)
        self._raw_ends.append(raw_end)


def fed(reader: XorbReader, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces of a xorb again that a reader gets on the way."""
    for piece in pieces:
        reader.feed(piece)
        yield piece


def read_header(header: bytes | memoryview) -> tuple[int, int, int]:
    """Return packed length, scheme and raw length of a chunk; raises BadRequestError."""
    version, packed_low, packed_high, scheme, raw_low, raw_high = _HEADER.unpack(header)
    packed, raw = packed_low | packed_high << 16, raw_low | raw_high << 16
    if version != 0 or scheme not in (STORED, LZ4, LZ4_BY_FOUR):
        raise _malformed(f"a chunk has version {version} and scheme {scheme}")
    if not 0 < raw <= MAX_CHUNK_BYTES or not 0 < packed <= MAX_PACKED_BYTES:
        raise _malformed(f"a chunk has {raw:,} bytes, packed {packed:,}")
    return packed, scheme, raw


def unpack(packed: bytes | memoryview, *, scheme: int, size: int) -> bytes | memoryview:
    """Return the raw bytes of a chunk, exactly `size`; raises BadRequestError."""
    if scheme == STORED:
        if len(packed) != size:
            raise _malformed("a stored chunk has another length than its header says")
        return packed
    unpacker = lz4.frame.LZ4FrameDecompressor()
    try:
        # One byte more than there may be shows a chunk that would go on.
        data: bytes = unpacker.decompress(packed, max_length=size + 1)
    except (RuntimeError, ValueError, MemoryError):
        raise _malformed("a chunk is no LZ4 frame") from None
    if len(data) != size or not unpacker.eof or unpacker.unused_data:
        raise _malformed("a chunk unpacks to another length than its header says")
    return data if scheme == LZ4 else _ungrouped(data)


def _ungrouped(data: bytes) -> bytes:
    """Put bytes back in order that were sorted by their position modulo four."""
    whole = bytearray(len(data))
    start = 0
    for offset in range(4):
        end = start + (len(data) - offset + 3) // 4
        whole[offset::4] = data[start:end]
        start = end
    return bytes(whole)


def _malformed(reason: str) -> BadRequestError:
    return BadRequestError(f"The xorb is malformed: {reason}.")
