"""One global batch cut into the micro-batches of all processes."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

_Micro = TypeVar("_Micro")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a global batch is computed: in how many pieces, one after another and side by side.

    Attributes:
        micro_batch: the most rows that a process holds at once.
        accumulation: micro-batches that a process computes for one step of the optimizer.
        processes: processes that compute side by side.
    """

    micro_batch: int
    accumulation: int = 1
    processes: int = 1

    @property
    def global_batch(self) -> int:
        """Return the rows of one step of the optimizer."""
        return self.micro_batch * self.accumulation * self.processes

    def turns(self, rows: int) -> int:
        """Return the micro-batches of one process for so many rows."""
        return math.ceil(rows / (self.micro_batch * self.processes))


def dealt(
    rows: Sequence[int], lengths: Sequence[int], *, cut: Cut, grouped: bool
) -> list[list[list[int]]]:
    """Return for each turn and process the rows of its micro-batch.

    A process is never left without a row, or the others would wait for it: where a turn has fewer
    rows than processes, the shortest row is repeated, and ``repeated`` says where.

    Args:
        rows: numbers of the rows of one global batch.
        lengths: tokens of each of them, in the same order.
        cut: how it is to be computed.
        grouped: put rows of like length together, so that little is padded; otherwise long ones
            with short ones, so that all micro-batches have about the same number of tokens.
    """
    rows, lengths = list(rows), list(lengths)
    parts = cut.turns(len(rows)) * cut.processes
    order = sorted(range(len(rows)), key=lambda place: -lengths[place])
    micro = _slices(order, parts) if grouped else _balanced(order, lengths, parts, cut.micro_batch)
    micro.sort(key=lambda places: (not places, -sum(lengths[place] for place in places)))
    turns = _turns([places or order[-1:] for places in micro], cut)
    return [[[rows[place] for place in places] for places in turn] for turn in turns]


def repeated(rows: int, *, cut: Cut) -> list[list[bool]]:
    """Return for each turn and process whether it computes a row that another one computes as well.

    Args:
        rows: how many a global batch has.
        cut: how it is computed.
    """
    parts = cut.turns(rows) * cut.processes
    return _turns([part >= rows for part in range(parts)], cut)


def _turns(micro: list[_Micro], cut: Cut) -> list[list[_Micro]]:
    turns = []
    for turn, first in enumerate(range(0, len(micro), cut.processes)):
        side_by_side = micro[first : first + cut.processes]
        # every second turn in reverse, so that what the processes compute in all is even as well
        turns.append(side_by_side[:: -1 if turn % 2 else 1])
    return turns


def _slices(order: list[int], parts: int) -> list[list[int]]:
    bounds = [len(order) * part // parts for part in range(parts + 1)]
    return [order[first:last] for first, last in itertools.pairwise(bounds)]


def _balanced(order: list[int], lengths: Sequence[int], parts: int, room: int) -> list[list[int]]:
    """Give each row, the longest first, to the part with the fewest tokens that has room."""
    filled: list[list[int]] = [[] for _ in range(parts)]
    heap = [(0, part) for part in range(parts)]
    for place in order:
        tokens, part = heapq.heappop(heap)
        filled[part].append(place)
        if len(filled[part]) < room:
            heapq.heappush(heap, (tokens + lengths[place], part))
    return filled
