"""Xorbs on the local disk: each is one file, its chunks as they came and its index behind them."""

import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fin_qlora_hub import disk
from fin_qlora_hub.errors import BadRequestError, HubError, UnusableDataError
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
    """A xorb that is on the disk: its size in bytes and the number of its chunks.

    `made` says when it took its place: it may have been there before, packed in another way.
    """

    hash: str
    size: int
    chunks: int
    made: int

    @property
    def file_size(self) -> int:
        """How many bytes its file has, with the index."""
        return self.size + self.chunks * ENTRY_BYTES


@dataclass(frozen=True)
class StagedXorb:
    """A xorb that was received and verified, durable but not in its place."""

    file: disk.IncomingFile
    index: XorbIndex
    size: int

    @property
    def hash(self) -> str:
        """The hash of the xorb."""
        return self.index.hash

    def discard(self) -> None:
        """Forget it; harmless after it was published."""
        self.file.discard()


class XorbWriter:
    """A xorb that is being received; every chunk is verified as it arrives."""

    def __init__(self, file: disk.IncomingFile) -> None:
        self._file = file
        self._reader = XorbReader()

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self._reader.feed(data)
        self._file.write(data)

    def finish(self, *, expected: str) -> StagedXorb:
        """Make it durable if its hash is the expected one; raises BadRequestError."""
        index = self._reader.finish()
        if index.hash != expected:
            raise BadRequestError(
                f"The xorb was sent as {expected} but its chunks make {index.hash}: nothing was "
                "stored. Send it again."
            )
        size = self._reader.size
        self._file.cut(size)
        self._file.write(index.encode())
        self._file.finish()
        return StagedXorb(self._file, index, size)

    def discard(self) -> None:
        """Forget the bytes; harmless after the xorb was published."""
        self._file.discard()


class XorbStore:
    """Xorbs as files of one directory: `ab/cd...`, and `incoming/` for uploads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._indexes: OrderedDict[StoredXorb, XorbIndex] = OrderedDict()
        self._guard = threading.Lock()

    def writer(self) -> XorbWriter:
        """Open a temporary file on the disk that will keep the xorb."""
        return XorbWriter(self.incoming(limit=MAX_BODY_BYTES, what="xorb"))

    def incoming(self, *, limit: int, what: str) -> disk.IncomingFile:
        """Open a temporary file of at most `limit` bytes for anything else that arrives."""
        refusal = f"The {what} is larger than the {limit:,} bytes that one may have."
        return disk.IncomingFile(self._incoming, limit=limit, refusal=refusal)

    def publish(self, staged: StagedXorb) -> None:
        """Put a xorb in its place, durably; whoever calls holds the writing transaction."""
        disk.put_in_place(staged.file.path, self.path_of(staged.hash))

    def holds(self, xorb: StoredXorb) -> bool:
        """Say whether a xorb is there, as far as its size tells."""
        return self.size_of(xorb.hash) == xorb.file_size

    def size_of(self, xorb: str) -> int | None:
        """Return how many bytes the file of a xorb has, None where it is not there."""
        return disk.size_of(self.path_of(xorb))

    def is_packed_as(self, staged: StagedXorb, stored: StoredXorb) -> bool:
        """Say whether a xorb has the same bytes at the same places as one that was received."""
        try:
            return staged.size == stored.size and self.read_index(stored) == staged.index
        except UnusableDataError:
            return False

    def is_sound(self, xorb: StoredXorb) -> bool:
        """Read a whole xorb again, and say whether it is what it was."""
        reader = XorbReader()
        try:
            index = self.read_index(xorb)
            with closing(self.read(xorb.hash, start=0, length=xorb.size)) as pieces:
                for piece in pieces:
                    reader.feed(piece)
            found = reader.finish()
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
        """Read the index from the disk, whatever is remembered of it."""
        try:
            data = b"".join(disk.read_part(self.path_of(xorb.hash), start=xorb.size))
            return XorbIndex.decode(data, chunks=xorb.chunks)
        except (OSError, ValueError) as error:
            name = xorb.hash
            raise UnusableDataError(f"The xorb {name} is lost or damaged ({error}).") from error

    def read(self, xorb: str, *, start: int, length: int) -> Generator[bytes, None, None]:
        """Open the file now and yield bytes of the xorb as they are kept, in pieces."""
        return disk.read_part(self.path_of(xorb), start=start, length=length)

    def unpacked(self, segment: Segment, index: XorbIndex) -> Iterator[bytes | memoryview]:
        """Yield the raw chunks of a segment; raises UnusableDataError where one is damaged."""
        position = segment.start
        start = index.packed_offset(segment.start)
        pieces = self.read(
            segment.xorb, start=start, length=index.packed_offset(segment.end) - start
        )
        rest = b""
        with closing(pieces):
            for piece in pieces:
                data = rest + piece if rest else piece
                view, at = memoryview(data), 0
                while position < segment.end:
                    size = index.packed_offset(position + 1) - index.packed_offset(position)
                    if at + size > len(view):
                        break
                    yield _verified(view[at : at + size], index.chunk(position), xorb=segment.xorb)
                    at, position = at + size, position + 1
                rest = data[at:]
        if position != segment.end:
            raise UnusableDataError(f"The xorb {segment.xorb} is cut short.")

    def sweep(self) -> int:
        """Empty `incoming/`; only safe while no server runs on the directory."""
        return disk.empty_folder(self._incoming)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield the names of all xorbs on the disk, known or not, and their files."""
        return disk.named_files(self.root)

    def remove(self, xorb: str) -> None:
        """Remove a xorb that nothing names; whoever calls holds the writing transaction."""
        self.path_of(xorb).unlink(missing_ok=True)

    def remove_old(self) -> int:
        """Remove what uploads left behind that ended long ago; servers may run meanwhile."""
        return disk.remove_older(self._incoming, disk.PATIENCE_SECONDS)

    def set_aside(self, xorb: str) -> None:
        """Move a damaged xorb to `damaged/`; whoever calls holds the writing transaction."""
        disk.set_aside(self.path_of(xorb), self.root)

    def path_of(self, xorb: str) -> Path:
        """Return where a xorb lies, or would."""
        return disk.place_in(self.root, xorb)


def _verified(packed: memoryview, chunk: bytes, *, xorb: str) -> bytes | memoryview:
    try:
        length, scheme, raw = read_header(packed[:HEADER_BYTES])
        data = unpack(packed[HEADER_BYTES : HEADER_BYTES + length], scheme=scheme, size=raw)
    except BadRequestError as error:
        raise UnusableDataError(f"The xorb {xorb} is damaged: {error}") from error
    if chunk_hash(data) != chunk:
        raise UnusableDataError(f"The xorb {xorb} is damaged: a chunk has another hash.")
    return data
