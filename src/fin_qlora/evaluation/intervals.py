"""How far a share may be from the truth, for independent rows and for rows that belong together."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import EmptyDatasetError

Floats: TypeAlias = NDArray[np.float64]
#: Sums over the rows of a sample, one line a sample, and its rows -> one figure a sample.
Statistic: TypeAlias = Callable[[Floats, Floats], Floats]

#: With fewer clusters the bootstrap promises too much (Cameron, Gelbach and Miller 2008).
FEW: Final = 20
#: Numbers that are drawn at once.
_AT_ONCE: Final = 1 << 22
#: Figures that differ by less are one.
_SAME: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A range that holds the true figure in ``confidence`` of all data sets drawn alike.

    ``clusters`` is how many groups of rows were resampled; None where rows count singly.
    """

    low: float
    high: float
    confidence: float
    method: str
    clusters: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return the score interval of a share of independent rows (Wilson 1927).

    It is the range of shares that a test at this level would not refuse, never leaves [0, 1], and
    has width also where all rows are right.

    Raises EmptyDatasetError when there is no row.
    """
    if not n:
        raise EmptyDatasetError("There is no row to give an interval for.")
    z = _quantile(confidence)
    share, spread = successes / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    return Interval(
        low=0.0 if successes == 0 else max(0.0, middle - half),
        high=1.0 if successes == n else min(1.0, middle + half),
        confidence=confidence,
        method="wilson",
    )


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What was drawn: sums over the rows of each sample, and how many rows these are."""

    sums: Floats
    rows: Floats
    clusters: int

    def interval(
        self,
        statistic: Statistic | None = None,
        *,
        bounds: tuple[float, float] | None = None,
        confidence: float = 0.95,
    ) -> Interval:
        """Return the middle ``confidence`` of a figure's values over the samples.

        Args:
            bounds: the least and the most that the figure can be. Where no draw differs from
                another (all rows are right, there is one cluster), the interval then is how far
                the figure could move if as large a share of clusters were otherwise as Wilson's
                interval leaves open when none was.
        """
        tail = 50 * (1 - confidence)
        figures = (statistic or _mean)(self.sums, self.rows)
        low, high = (float(end) for end in np.percentile(figures, [tail, 100 - tail]))
        method = "cluster bootstrap"
        if bounds is not None and np.ptp(figures) < _SAME:
            figure = float(figures[0])
            other = wilson(0, self.clusters, confidence=confidence).high
            low = figure - other * (figure - bounds[0])
            high = figure + other * (bounds[1] - figure)
            method = "wilson over clusters"
        return Interval(
            low=low, high=high, confidence=confidence, method=method, clusters=self.clusters
        )


def draw_clusters(
    values: ArrayLike, clusters: Sequence[Hashable], *, seed: int = 0, samples: int = 2000
) -> Draws:
    """Draw whole clusters with repetition, as often as there are clusters, for each sample.

    Args:
        values: one number a row, or one line of numbers a row.
        clusters: what a row belongs to, one a row.
        samples: how often to draw; equal seeds give equal draws, whatever the order of the rows.

    Raises EmptyDatasetError when there is no row.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    if not len(table) or len(table) != len(clusters):
        raise EmptyDatasetError(f"There are {len(table)} rows for {len(clusters)} clusters.")
    position: dict[Hashable, int] = {}
    member = np.array([position.setdefault(one, len(position)) for one in clusters])
    count = len(position)
    # the sums of each cluster, with its number of rows as the last
    sums = np.zeros((count, table.shape[1] + 1))
    np.add.at(sums, member, np.column_stack([table, np.ones(len(table))]))
    # clusters with equal sums are drawn as one kind, as often as there are of them
    kinds, often = np.unique(sums, axis=0, return_counts=True)
    generator = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // len(kinds))
    totals: list[Floats] = []
    for start in range(0, samples, at_once):
        size = min(at_once, samples - start)
        times = generator.multinomial(count, often / count, size=size)
        totals.append(times.astype(np.float64) @ kinds)
    total = np.concatenate(totals)
    return Draws(sums=total[:, :-1], rows=total[:, -1], clusters=count)


def cluster_bootstrap(
    values: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    statistic: Statistic | None = None,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
    samples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Return the percentile interval of a figure when whole clusters are drawn with repetition.

    Rows of one cluster (questions on one filing, mentions in one sentence) are right or wrong
    together, so that they are worth less than as many independent rows (Efron and Tibshirani 1993,
    chapters 8 and 13; Cameron, Gelbach and Miller 2008, Review of Economics and Statistics 90(3)).

    Args:
        statistic: from sums (samples, numbers) and rows (samples,) to one figure a sample; the
            mean of the first number where left out.
        bounds: the least and the most that the figure can be, for where no draw differs.

    Raises EmptyDatasetError when there is no row.
    """
    draws = draw_clusters(values, clusters, seed=seed, samples=samples)
    return draws.interval(statistic, bounds=bounds, confidence=confidence)


def _mean(sums: Floats, rows: Floats) -> Floats:
    mean: Floats = sums[:, 0] / rows
    return mean


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
