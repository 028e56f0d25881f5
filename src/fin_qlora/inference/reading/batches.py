"""Rows of like length together, fewer of them where they are long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...errors import UsageError
from .faults import memory_explained

#: Called after each batch with the number of rows done.
Progress = Callable[[int], None]
#: Called after each batch with the indices of its rows and their results.
Keep = Callable[[Sequence[int], Sequence[Any]], None]
#: Says whether a batch is asked here, by its number and the indices of its rows.
Mine = Callable[[int, Sequence[int]], bool]


def by_length(
    widths: Sequence[int],
    *,
    batch_size: int,
    fits: Callable[[int, int], bool],
    mine: Mine | None = None,
) -> Iterator[list[int]]:
    """Cut rows, longest first, into batches of their indices; none is left out.

    The longest come first so that a batch that does not fit into memory shows at once.

    Args:
        widths: what each row needs, in tokens.
        batch_size: rows in a batch at most.
        fits: says whether so many rows of such a width may share a batch; one row always may.
        mine: which batches are asked here. All are, where it is None.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}.", fix="Use at least 1.")
    batches: list[list[int]] = []
    widest = 0
    for row in sorted(range(len(widths)), key=lambda row: -widths[row]):
        batch = batches[-1] if batches else []
        if not batch or len(batch) == batch_size or not fits(len(batch) + 1, widest):
            batches.append([row])
            widest = widths[row]
        else:
            batch.append(row)
    for number, batch in enumerate(batches):
        if mine is None or mine(number, batch):
            yield batch


def collected(
    batches: Sequence[Sequence[int]],
    results: Iterator[Sequence[Any]],
    *,
    widths: Sequence[int],
    keep: Keep | None,
    progress: Progress | None,
) -> list[Any]:
    """Return the results of all rows in their order, None for those of no batch.

    Args:
        batches: indices of the rows of each.
        results: of each batch, one for each of its rows.
        widths: tokens of each row, for messages.

    Raises MemoryShortError when a batch does not fit; those before it were given to ``keep``.
    """
    found: list[Any] = [None] * len(widths)
    done = 0
    for rows in batches:
        widest = max(widths[row] for row in rows)
        with memory_explained(rows=len(rows), width=widest, done=done):
            values = next(results)
        for row, value in zip(rows, values, strict=True):
            found[row] = value
        done += len(rows)
        if keep is not None:
            keep(rows, values)
        if progress is not None:
            progress(done)
    return found
