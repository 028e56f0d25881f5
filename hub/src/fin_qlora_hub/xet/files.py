"""Files that are kept as chunks: what the metadata knows of them, and their bytes."""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.metadata.tables import XetChunk, XetFile, XetSegment
from fin_qlora_hub.xet.ownership import still_there, stored_xorbs
from fin_qlora_hub.xet.shards import Segment
from fin_qlora_hub.xet.store import StoredXorb, XorbStore
from fin_qlora_hub.xet.xorbs import XorbIndex

# Below this, one plain download is quicker than asking where the chunks are.
_SMALL_BYTES = 1024 * 1024
# So few of them cost nobody much, and clients that expect it see that they came in chunks.
MOST_SMALL_ADVERTISED = 8
_VALUES_PER_QUERY = 500
_YIELDED_BYTES = 1024 * 1024


@dataclass(frozen=True)
class ChunkedFile:
    """A file and the segments that make it up; `xorbs` says what is known of each xorb."""

    file_hash: str
    sha256: str
    size: int
    segments: tuple[Segment, ...]
    xorbs: dict[str, StoredXorb]

    def index(self, store: XorbStore, segment: Segment) -> XorbIndex:
        """Return the index of a segment's xorb."""
        return store.index(self.xorbs[segment.xorb])

    def read(self, store: XorbStore, *, start: int = 0, length: int) -> Iterator[bytes]:
        """Yield `length` bytes from `start`, verified chunk by chunk."""
        return _batched(self._pieces(store, start=start, end=start + length))

    def _pieces(self, store: XorbStore, *, start: int, end: int) -> Iterator[bytes | memoryview]:
        position = 0
        for segment in self.segments:
            if position >= end:
                return
            if position + segment.size > start:
                yield from _part(
                    *(store, self.xorbs[segment.xorb], segment),
                    start=max(start - position, 0),
                    end=end - position,
                )
            position += segment.size


def cut(segment: Segment, index: XorbIndex, *, start: int, end: int) -> tuple[Segment, int]:
    """Return the fewest chunks of a segment that hold its bytes from `start` up to `end`.

    The second value says how many bytes of the first chunk stand before `start`.
    """
    base = index.raw_offset(segment.start)
    first = bisect_right(index.raw_ends, base + start)
    last = bisect_right(index.raw_ends, base + min(end, segment.size) - 1) + 1
    size = index.raw_size(first, last)
    return Segment(segment.xorb, first, last, size), base + start - index.raw_offset(first)


def _part(
    store: XorbStore, xorb: StoredXorb, segment: Segment, *, start: int, end: int
) -> Iterator[bytes | memoryview]:
    index = store.index(xorb)
    part, skipped = cut(segment, index, start=start, end=end)
    left = min(end, segment.size) - start
    for data in store.unpacked(xorb, part, index):
        piece = memoryview(data)[skipped : skipped + left]
        skipped = 0
        left -= len(piece)
        yield piece


def _batched(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes]:
    held: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _YIELDED_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def find_file(
    session: Session,
    repository_id: int,
    *,
    sha256: str | None = None,
    file_hash: str | None = None,
) -> ChunkedFile | None:
    """Return the file of a repository with one of the two hashes."""
    query = select(XetFile).filter_by(repository_id=repository_id)
    if sha256 is not None:
        query = query.filter_by(sha256=sha256)
    if file_hash is not None:
        query = query.filter_by(file_hash=file_hash)
    found = session.scalars(query.limit(1)).first()
    return None if found is None else _load(session, found)


def advertised_hashes(
    session: Session, repository_id: int, sha256s: Collection[str], *, all_sizes: bool = False
) -> dict[str, str]:
    """Return the Xet hashes of those contents that clients should fetch in chunks.

    Small ones only where the repository has few of them, or for `all_sizes`.
    """
    wanted = list(sha256s)
    found: dict[str, str] = {}
    small: set[str] = set()
    for start in range(0, len(wanted), _VALUES_PER_QUERY):
        query = select(XetFile.sha256, XetFile.file_hash, XetFile.size).where(
            XetFile.repository_id == repository_id,
            XetFile.sha256.in_(wanted[start : start + _VALUES_PER_QUERY]),
        )
        for sha256, file_hash, size in session.execute(query):
            found[sha256] = file_hash
            if size < _SMALL_BYTES:
                small.add(sha256)
    if small and not all_sizes and _has_many_small(session, repository_id):
        return {sha256: found[sha256] for sha256 in found.keys() - small}
    return found


def _has_many_small(session: Session, repository_id: int) -> bool:
    some = (
        select(XetFile.id)
        .where(XetFile.repository_id == repository_id, XetFile.size < _SMALL_BYTES)
        .limit(MOST_SMALL_ADVERTISED + 1)
    )
    return len(session.scalars(some).all()) > MOST_SMALL_ADVERTISED


def xorbs_after_chunk(
    session: Session, store: XorbStore, namespace_id: int, chunk: str
) -> list[StoredXorb]:
    """Return the xorbs that the newest file with a chunk goes on with, each once, in order.

    Only xorbs that the namespace sent itself: it may build files from any of their chunks.
    """
    found = session.get(XetChunk, (namespace_id, chunk))
    if found is None:
        return []
    query = (
        select(XetSegment.xorb)
        .where(XetSegment.file_id == found.file_id, XetSegment.position >= found.position)
        .order_by(XetSegment.position)
    )
    names = list(dict.fromkeys(session.scalars(query)))
    known = stored_xorbs(session, names)
    own = still_there(session, store, namespace_id, names)
    return [known[name] for name in names if name in own]


def _load(session: Session, found: XetFile) -> ChunkedFile:
    rows = session.scalars(
        select(XetSegment).filter_by(file_id=found.id).order_by(XetSegment.position)
    )
    segments = tuple(Segment(r.xorb, r.chunk_start, r.chunk_end, r.size) for r in rows)
    xorbs = stored_xorbs(session, {segment.xorb for segment in segments})
    return ChunkedFile(found.file_hash, found.sha256, found.size, segments, xorbs)
