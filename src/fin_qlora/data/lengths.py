"""How long the encoded rows of a split are, and how often each answer occurs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy

from .encode import EncodedRows

PERCENTILES = (0, 1, 5, 25, 50, 75, 90, 95, 99, 100)
#: Limits that people train with.
LIMITS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
#: Bars of the histogram, about.
_BARS = 20


@dataclass(frozen=True)
class Bar:
    """A bar of the histogram: rows of ``first`` to ``last`` tokens, both included."""

    first: int
    last: int
    rows: int


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of prompt and answer together, in tokens.

    Attributes:
        percentiles: percent -> the length of the row at that place (nearest rank).
        bars: the histogram, bars of equal width without a gap between them.
        beyond: limit -> rows that are longer, for the limits that some row exceeds.
        answers: answer -> rows, the most frequent first.
    """

    rows: int
    mean: float
    trained_tokens: int
    percentiles: dict[int, int]
    bars: tuple[Bar, ...]
    beyond: dict[int, int]
    answers: dict[str, int]

    @property
    def smallest_limit(self) -> int | None:
        """Return the smallest usual limit that no row exceeds."""
        longest = self.percentiles[100]
        return next((limit for limit in LIMITS if longest <= limit), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {**asdict(self), "smallest_limit": self.smallest_limit}


def measure(encoded: EncodedRows, rows: Sequence[Mapping[str, Any]]) -> Lengths:
    """Return the figures of encoded rows; ``rows`` are those that were given to be encoded."""
    lengths = encoded.lengths
    return Lengths(
        rows=len(lengths),
        mean=encoded.mean_length,
        trained_tokens=encoded.trained_tokens,
        percentiles=percentiles(lengths.tolist()),
        bars=histogram(lengths.tolist()),
        beyond={limit: over for limit in LIMITS if (over := int((lengths > limit).sum())) > 0},
        answers=dict(Counter(str(rows[number]["label"]) for number in encoded.kept).most_common()),
    )


def percentiles(lengths: Sequence[int]) -> dict[int, int]:
    """Return the length at each of ``PERCENTILES`` by nearest rank: always that of a real row."""
    ordered = sorted(lengths)
    last = len(ordered) - 1
    return {
        percent: ordered[min(max(math.ceil(percent / 100 * len(ordered)) - 1, 0), last)]
        for percent in PERCENTILES
    }


def histogram(lengths: Sequence[int]) -> tuple[Bar, ...]:
    """Return about twenty bars of a round width, from the shortest row to the longest."""
    shortest, longest = min(lengths), max(lengths)
    width = _round_width((longest - shortest + 1) / _BARS)
    first = shortest // width * width
    counts = numpy.bincount((numpy.asarray(lengths) - first) // width)
    return tuple(
        Bar(first + place * width, first + (place + 1) * width - 1, int(count))
        for place, count in enumerate(counts)
    )


def _round_width(least: float) -> int:
    """Return the smallest of 1, 2, 5, 10, 20, 50, … that is not below ``least``."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= least:
                return digit * power
        power *= 10
