"""Whether two models differ by more than chance on the same rows."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from ..errors import DataError
from .intervals import Interval, cluster_bootstrap

#: A part of a sum that no longer changes it.
_NOTHING: Final = 1e-18


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Rows that both models, one of them, or neither got right, and what chance says to that.

    ``p_value`` is the probability of a difference at least as large where the two are equally
    good, two-sided and exact.
    """

    n: int
    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def mcnemar(a_right: Sequence[bool], b_right: Sequence[bool]) -> McNemar:
    """Compare two models by the rows on which just one of them is right (McNemar 1947).

    Under equal models these are halved by a fair coin, so the test is the exact binomial one
    whatever their number. It takes rows for independent; where they are not, look at
    ``paired_difference``.

    Raises DataError when the two do not have the same rows.
    """
    if len(a_right) != len(b_right):
        raise DataError(f"The runs have {len(a_right)} and {len(b_right)} rows.")
    pairs = [(bool(a), bool(b)) for a, b in zip(a_right, b_right, strict=True)]
    only_a, only_b = pairs.count((True, False)), pairs.count((False, True))
    return McNemar(
        n=len(pairs),
        both=pairs.count((True, True)),
        only_a=only_a,
        only_b=only_b,
        neither=pairs.count((False, False)),
        p_value=_two_sided(min(only_a, only_b), only_a + only_b),
    )


def _two_sided(fewer: int, tosses: int) -> float:
    """Return the probability that a fair coin falls at least as unevenly."""
    if 2 * fewer >= tosses:
        return 1.0
    # the terms of the tail as parts of its largest one, which is computed without rounding
    part = tail = 1.0
    for heads in range(fewer, 0, -1):
        part *= heads / (tosses - heads + 1)
        tail += part
        if part < _NOTHING * tail:
            break
    return min(1.0, 2 * tail * (math.comb(tosses, fewer) / (1 << tosses)))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values that may be read side by side, by Holm's step-down rule (1979).

    The smallest is multiplied by their number, the next by one less, and so on; none falls below
    a smaller one's.
    """
    adjusted: dict[str, float] = {}
    highest = 0.0
    for position, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def paired_difference(
    a_right: Sequence[bool],
    b_right: Sequence[bool],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
    samples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Return the interval of B's accuracy less A's, with clusters of rows drawn together.

    It has a width also where no row flipped, or every row did: see ``Draws.interval``.

    Raises DataError when the two do not have the same rows.
    """
    if len(a_right) != len(b_right):
        raise DataError(f"The runs have {len(a_right)} and {len(b_right)} rows.")
    gains = np.asarray(b_right, dtype=np.float64) - np.asarray(a_right, dtype=np.float64)
    return cluster_bootstrap(
        gains, clusters, bounds=(-1.0, 1.0), seed=seed, samples=samples, confidence=confidence
    )
