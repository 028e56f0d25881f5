"""What the probabilities of labels are worth: calibration, and what abstaining buys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, EmptyDatasetError
from .intervals import Floats

_BINS: Final = 15
#: Shares of the rows that are answered, the surest ones first.
_COVERAGES: Final = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Accuracy over the rows that are answered, where less sure ones are left to a person.

    ``threshold`` is the probability that the likeliest label of an answered row has at least.
    """

    threshold: float
    share: float
    accuracy: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """What the probabilities are worth.

    Attributes:
        expected_calibration_error: mean distance of confidence and accuracy over 15 equal bins of
            confidence, weighted by their rows; 0 is best.
        brier: mean over rows of the summed squared error over labels, from 0 (best) to 2.
        abstention: for falling shares of answered rows, what accuracy they have.
    """

    expected_calibration_error: float
    brier: float
    abstention: tuple[Coverage, ...]


def certainty(true: Sequence[str], probabilities: Sequence[Mapping[str, float]]) -> Certainty:
    """Hold probabilities against the true labels.

    Sources: expected calibration error as in Guo et al. 2017 (arXiv 1706.04599, section 2); the
    score of Brier 1950 in its own form, summed over classes; abstention as in El-Yaniv and Wiener
    2010 (risk and coverage).

    Raises:
        EmptyDatasetError: there is no row.
        DataError: a row has no probability for its true label, or probabilities are not shares
            that sum to one.
    """
    if not true:
        raise EmptyDatasetError("There is no row to score.")
    if len(true) != len(probabilities):
        raise DataError(f"There are {len(true)} labels and {len(probabilities)} rows of scores.")
    labels = list(probabilities[0])
    try:
        table = np.array([[row[label] for label in labels] for row in probabilities], dtype=float)
        wanted = np.array([labels.index(label) for label in true])
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"A row has no score for a label ({error}).") from None
    shares = (np.abs(table.sum(axis=1) - 1) <= 1e-3) & (table >= -1e-6).all(axis=1)
    if not shares.all():
        place = int(np.argmin(shares))
        raise DataError(
            f"The scores of row {place + 1} are no probabilities: {dict(probabilities[place])}.",
            fix="Give shares of at least 0 that sum to 1.",
        )
    confidence, right = table.max(axis=1), table.argmax(axis=1) == wanted
    exact = np.zeros_like(table)
    exact[np.arange(len(wanted)), wanted] = 1
    return Certainty(
        expected_calibration_error=_calibration_error(confidence, right),
        brier=float(((table - exact) ** 2).sum(axis=1).mean()),
        abstention=_abstention(confidence, right),
    )


def _calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    # bins are open below and closed above, as in the source
    bins = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _abstention(confidence: Floats, right: NDArray[np.bool_]) -> tuple[Coverage, ...]:
    """Return the curve; rows that are equally sure are answered together or not at all."""
    found: dict[int, Coverage] = {}
    for wanted in _COVERAGES:
        threshold = float(np.sort(confidence)[::-1][max(1, round(wanted * len(right))) - 1])
        answered = confidence >= threshold
        n = int(answered.sum())
        found[n] = Coverage(
            threshold=threshold,
            share=n / len(right),
            accuracy=float(right[answered].mean()),
            n=n,
        )
    return tuple(found.values())
