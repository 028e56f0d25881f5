"""What can go wrong while a model is asked, and what to do about it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from ...errors import DataError, MemoryShortError, NotFiniteError

#: What allocators say that raise no error of their own kind.
_MEMORY_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


@contextlib.contextmanager
def memory_explained(*, rows: int, width: int, done: int) -> Iterator[None]:
    """Raise MemoryShortError, with a batch size that may fit, where memory ends in the block.

    Args:
        rows, width: of the batch, in tokens.
        done: rows that are finished.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        smaller = (
            f"Use a batch size of {rows // 2}."
            if rows > 1
            else "Shorten the text, load the base in 4 bits, or use a larger device."
        )
        raise MemoryShortError(
            f"A batch of {rows} rows of {width} tokens does not fit into memory; {done} rows are "
            "done.",
            fix=smaller,
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return any(words in said for words in _MEMORY_WORDS)


@contextlib.contextmanager
def numbered(places: Sequence[int], *, first: int = 1) -> Iterator[None]:
    """Let errors name a row by its number among all rows, not among those asked in the block.

    Args:
        places: of each row asked in the block, its place among all.
        first: number of the row at place 0.
    """
    try:
        yield
    except DataError as error:
        named = re.match(r"(Input|Row) (\d+)\b", error.message)
        if named and int(named[2]) <= len(places):
            number = first + places[int(named[2]) - 1]
            error.message = f"{named[1]} {number}{error.message[named.end() :]}"
            error.args = (error.message,)
        raise


def check_finite(numbers: torch.Tensor, *, model: Any = None, place: str = "") -> None:
    """Raise NotFiniteError when a number is infinite or none at all.

    Args:
        model: whose weights are looked through for what is to blame.
        place: where it happened, for the message.
    """
    if bool(numbers.isfinite().all()):
        return
    named = broken_weight(model) if hasattr(model, "named_parameters") else None
    where = f"{place}: " if place else ""
    if named is not None:
        raise NotFiniteError(
            f"{where}The model answers no numbers, since its weight '{named}' holds NaN or "
            "infinity.",
            fix="Fetch or train it again.",
        )
    raise NotFiniteError(
        f"{where}The model answers NaN or infinity instead of probabilities.",
        fix="Its activations overflow; load it in another quantization, or another base.",
    )


def broken_weight(model: Any) -> str | None:
    """Return the name of the first weight that is not finite, or None."""
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not bool(parameter.isfinite().all()):
            return str(name)
    return None
