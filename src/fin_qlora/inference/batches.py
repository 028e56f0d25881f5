"""Rows of like length together, fewer of them where they are long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..errors import UsageError

Progress = Callable[[int], None]


def by_length(
    widths: Sequence[int], *, batch_size: int, fits: Callable[[int, int], bool]
) -> Iterator[list[int]]:
    """Cut rows, shortest first, into batches of their indices; none is left out.

    Args:
        widths: what each row needs, in tokens.
        fits: says whether so many rows of such a width may share a batch; one row always may.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}.", fix="Use at least 1.")
    batch: list[int] = []
    for row in sorted(range(len(widths)), key=widths.__getitem__):
        if batch and (len(batch) == batch_size or not fits(len(batch) + 1, widths[row])):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
