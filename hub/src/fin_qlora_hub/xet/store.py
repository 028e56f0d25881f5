"""Xorbs as they are kept: the chunks as they came, and their index behind them.

Where these bytes lie is for `XorbFiles` to say: on the local disk, or in a bucket.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from fin_qlora_hub.errors import (
    BadRequestError,
    HubError,
    UnreachableError,
    UnusableDataError,
)
from fin_qlora_hub.stores import disk
from fin_qlora_hub.xet.hashes import chunk_hash
from fin_qlora_hub.xet.shards import Segment
from fin_qlora_hub.xet.xorbs import (
    ENTRY_BYTES,
    HEADER_BYTES,
    MAX_BODY_BYTES,
    XorbIndex,
    XorbReader,
    read_header,
    unpack,
)

READ_BYTES = 1024 * 1024
# An index has 40 bytes a chunk: about 40 KB for a xorb of weights, 330 KB at most.
CACHED_INDEXES = 128


@dataclass(frozen=True)
class StoredXorb:
    """A xorb that is kept: its size in bytes and the number of its chunks.

    `made` says when it took its place, in microseconds since 1970: it may have been there before,
    packed in another way.
    """

    hash: str
    size: int
    chunks: int
    made: int

    @property
    def file_size(self) -> int:
        """How many bytes are kept of it, with the index."""
        return self.size + self.chunks * ENTRY_BYTES


@dataclass(frozen=True)
class StagedXorb:
    """A xorb that was received and verified, durable but not in its place."""

    file: disk.IncomingFile
    index: XorbIndex
    size: int
    made: int

    @property
    def hash(self) -> str:
        """The hash of the xorb."""
        return self.index.hash

    @property
    def stored(self) -> StoredXorb:
        """What there will be to say of it in its place."""
        return StoredXorb(self.hash, self.size, len(self.index), self.made)

    def discard(self) -> None:
        """Forget it; harmless after it was published."""
        self.file.discard()


@dataclass(frozen=True)
class KeptXorb:
    """A xorb that is kept, whether or not the metadata know it.

    `made` is None where there can be only one of a hash.
    """

    hash: str
    made: int | None


class XorbFiles(Protocol):
    """Where the bytes of xorbs lie."""

    def incoming(self, *, limit: int, refusal: str) -> disk.IncomingFile:
        """Open a temporary file of at most `limit` bytes."""

    def stage(self, file: disk.IncomingFile, xorb: StoredXorb) -> None:
        """Make a received xorb durable, still unseen."""

    def place(self, staged: StagedXorb, known: StoredXorb | None) -> StoredXorb:
        """Put a xorb in its place; whoever calls holds the writing transaction.

        `known` is what there is of it so far. Returns what is there afterwards.
        """

    def read(self, xorb: StoredXorb, *, start: int, length: int) -> Generator[bytes, None, None]:
        """Open the xorb now and yield its bytes, the index behind them; FileNotFoundError."""

    def sizes(self, xorbs: Collection[StoredXorb]) -> dict[str, int]:
        """Return how many bytes are kept of those of the xorbs that are there."""

    def kept(self) -> Iterator[KeptXorb]:
        """Yield all that is there and may be removed if nobody knows it."""

    def remove(self, xorb: KeptXorb) -> None:
        """Remove a xorb that nothing names; whoever calls holds the writing transaction."""

    def set_aside(self, xorb: StoredXorb) -> None:
        """Move a damaged xorb to `damaged/`; whoever calls holds the writing transaction."""

    def sweep(self) -> int:
        """Remove what interrupted uploads left; only safe while no server runs on the directory."""

    def remove_old(self) -> int:
        """Remove what uploads left behind that ended long ago; servers may run meanwhile."""


class XorbWriter:
    """A xorb that is being received; every chunk is verified as it arrives."""

    def __init__(self, files: XorbFiles, file: disk.IncomingFile) -> None:
        self._files = files
        self._file = file
        self._reader = XorbReader()

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._reader.feed(data)
        self._file.write(data)

    def finish(self, *, expected: str, made: int | None = None) -> StagedXorb:
        """Make it durable if its hash is the expected one; raises BadRequestError.

        `made` is given where it was made elsewhere, at another time.
        """
        index = self._reader.finish()
        if index.hash != expected:
            raise BadRequestError(
                f"The xorb was sent as {expected} but its chunks make {index.hash}: nothing was "
                "stored. Send it again."
            )
        size = self._reader.size
        self._file.cut(size)
        self._file.write(index.encode())
        made = time.time_ns() // 1000 if made is None else made
        staged = StagedXorb(self._file, index, size, made)
        self._files.stage(self._file, staged.stored)
        return staged

    def discard(self) -> None:
        """Forget the bytes; harmless after the xorb was published."""
        self._file.discard()


class XorbStore:
    """Xorbs that can be read chunk by chunk; remembers the indexes that were used last."""

    def __init__(self, files: XorbFiles) -> None:
        self.files = files
        self._indexes: OrderedDict[StoredXorb, XorbIndex] = OrderedDict()
        self._guard = threading.Lock()

    def writer(self) -> XorbWriter:
        """Open a temporary file for a xorb that arrives."""
        return XorbWriter(self.files, self.incoming(limit=MAX_BODY_BYTES, what="xorb"))

    def incoming(self, *, limit: int, what: str) -> disk.IncomingFile:
        """Open a temporary file of at most `limit` bytes for anything else that arrives."""
        refusal = f"The {what} is larger than the {limit:,} bytes that one may have."
        return self.files.incoming(limit=limit, refusal=refusal)

    def publish(self, staged: StagedXorb, known: StoredXorb | None = None) -> StoredXorb:
        """Put a xorb in its place, durably; whoever calls holds the writing transaction.

        `known` is what the metadata say of it so far. Returns what they have to say from now on:
        it takes the place of one that is lost, and of one that should have the same bytes, in case
        they have changed.
        """
        return self.files.place(staged, known)

    def present(self, xorbs: Collection[StoredXorb]) -> set[str]:
        """Return the hashes of those that are there, as far as their sizes tell."""
        sizes = self.files.sizes(xorbs)
        return {xorb.hash for xorb in xorbs if sizes.get(xorb.hash) == xorb.file_size}

    def holds(self, xorb: StoredXorb) -> bool:
        """Say whether a xorb is there, as far as its size tells."""
        return xorb.hash in self.present([xorb])

    def is_sound(self, xorb: StoredXorb) -> bool:
        """Read a whole xorb again, and say whether it is what it was."""
        reader = XorbReader()
        try:
            index = self.read_index(xorb)
            with closing(self.read(xorb, start=0, length=xorb.size)) as pieces:
                for piece in pieces:
                    reader.feed(piece)
            found = reader.finish()
        except UnreachableError:
            raise
        except (HubError, OSError):
            return False
        return found.hash == xorb.hash and found == index and reader.size == xorb.size

    def index(self, xorb: StoredXorb) -> XorbIndex:
        """Return which chunks a xorb holds; raises UnusableDataError where it is damaged."""
        with self._guard:
            known = self._indexes.get(xorb)
            if known is not None:
                self._indexes.move_to_end(xorb)
                return known
        index = self.read_index(xorb)
        with self._guard:
            self._indexes[xorb] = index
            while len(self._indexes) > CACHED_INDEXES:
                self._indexes.popitem(last=False)
        return index

    def read_index(self, xorb: StoredXorb) -> XorbIndex:
        """Read the index again, whatever is remembered of it."""
        return read_index(self.files, xorb)

    def read(self, xorb: StoredXorb, *, start: int, length: int) -> Generator[bytes, None, None]:
        """Open the xorb now and yield bytes of it as they are kept, in pieces."""
        return self.files.read(xorb, start=start, length=length)

    def unpacked(
        self, xorb: StoredXorb, segment: Segment, index: XorbIndex, *, hashed: bool = True
    ) -> Iterator[bytes | memoryview]:
        """Yield the raw chunks of a segment of a xorb; UnusableDataError where one is damaged.

        Whoever has another hash by which to know all the bytes needs them not `hashed` here.
        """
        position = segment.start
        start = index.packed_offset(segment.start)
        pieces = self.read(xorb, start=start, length=index.packed_offset(segment.end) - start)
        rest = b""
        with closing(pieces):
            for piece in pieces:
                data = rest + piece if rest else piece
                view, at = memoryview(data), 0
                while position < segment.end:
                    size = index.packed_offset(position + 1) - index.packed_offset(position)
                    if at + size > len(view):
                        break
                    chunk = index.chunk(position) if hashed else None
                    yield _unpacked(view[at : at + size], chunk, xorb=segment.xorb)
                    at, position = at + size, position + 1
                rest = data[at:]
        if position != segment.end:
            raise UnusableDataError(f"The xorb {segment.xorb} is cut short.")

    def sweep(self) -> int:
        """Remove what interrupted uploads left; only safe while no server runs on the directory."""
        return self.files.sweep()

    def remove_old(self) -> int:
        """Remove what uploads left behind that ended long ago; servers may run meanwhile."""
        return self.files.remove_old()


def read_index(files: XorbFiles, xorb: StoredXorb) -> XorbIndex:
    """Return which chunks a xorb holds; raises UnusableDataError where it is lost or damaged."""
    try:
        length = xorb.chunks * ENTRY_BYTES
        data = b"".join(files.read(xorb, start=xorb.size, length=length + 1))
        return XorbIndex.decode(data, chunks=xorb.chunks)
    except (OSError, ValueError) as error:
        name = xorb.hash
        raise UnusableDataError(f"The xorb {name} is lost or damaged ({error}).") from error


def _unpacked(packed: memoryview, chunk: bytes | None, *, xorb: str) -> bytes | memoryview:
    try:
        length, scheme, raw = read_header(packed[:HEADER_BYTES])
        data = unpack(packed[HEADER_BYTES : HEADER_BYTES + length], scheme=scheme, size=raw)
    except BadRequestError as error:
        raise UnusableDataError(f"The xorb {xorb} is damaged: {error}") from error
    if chunk is not None and chunk_hash(data) != chunk:
        raise UnusableDataError(f"The xorb {xorb} is damaged: a chunk has another hash.")
    return data
