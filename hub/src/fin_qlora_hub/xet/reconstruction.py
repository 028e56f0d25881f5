"""Where the chunks of a file, or of a part of it, lie: what a client fetches and puts together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fin_qlora_hub.xet.files import ChunkedFile, cut
from fin_qlora_hub.xet.shards import Segment
from fin_qlora_hub.xet.store import XorbStore


@dataclass(frozen=True)
class Run:
    """Chunks of a xorb and the bytes in which they are kept; both ends are exclusive.

    `made` says of which file of the xorb this is true.
    """

    chunk_start: int
    chunk_end: int
    byte_start: int
    byte_end: int
    made: int


@dataclass(frozen=True)
class Reconstruction:
    """The runs of chunks in the order of the file, and what to fetch of each xorb.

    Every term lies within one run of its xorb. `skipped` bytes of the first term stand before the
    part that was asked for.
    """

    skipped: int
    terms: tuple[Segment, ...]
    runs: Mapping[str, tuple[Run, ...]]


def plan(file: ChunkedFile, store: XorbStore, *, start: int, end: int) -> Reconstruction:
    """Return how to put together the bytes of a file from `start` up to `end`, at least one."""
    terms: list[Segment] = []
    skipped = 0
    for segment, first, last in _overlapping(file, start, end):
        term, before = cut(segment, file.index(store, segment), start=first, end=last)
        skipped = skipped if terms else before
        terms.append(term)
    wanted: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for term in terms:
        wanted[term.xorb].append((term.start, term.end))
    runs = {
        xorb: tuple(_located(file, store, xorb, merged) for merged in _merged(pairs))
        for xorb, pairs in wanted.items()
    }
    return Reconstruction(skipped, tuple(terms), runs)


def _overlapping(file: ChunkedFile, start: int, end: int) -> Iterator[tuple[Segment, int, int]]:
    position = 0
    for segment in file.segments:
        if position < end and position + segment.size > start:
            yield segment, max(start - position, 0), min(end - position, segment.size)
        position += segment.size


def _merged(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(pairs):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _located(file: ChunkedFile, store: XorbStore, xorb: str, chunks: tuple[int, int]) -> Run:
    start, end = chunks
    stored = file.xorbs[xorb]
    index = store.index(stored)
    return Run(start, end, index.packed_offset(start), index.packed_offset(end), stored.made)
