"""How the rows of a batch are cut into micro-batches that stages work on at the same time."""

from __future__ import annotations

import itertools


def cut_rows(rows: int, *, micro_batches: int) -> list[slice]:
    """Return where each micro-batch begins and ends: as many as asked for, or one for each row.

    Rows of a batch have one width, so micro-batches of as many rows take as long.
    """
    count = min(rows, micro_batches)
    edges = [number * rows // count for number in range(count + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
