"""Leaving the unsure rows to a person: how many are answered, and how many of those rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .intervals import wilson


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """What a threshold does: rows whose likeliest label is below it are not answered.

    Attributes:
        threshold: probability among the labels.
        n: all rows.
        answered: rows that are answered.
        right: rows of these whose answer is right.
    """

    threshold: float
    n: int
    answered: int
    right: int

    @property
    def coverage(self) -> float:
        """The share of rows that are answered."""
        return self.answered / self.n

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among those given; None where none is."""
        return self.right / self.answered if self.answered else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with a 95 % interval of the accuracy."""
        interval = wilson(self.right, self.answered).to_dict() if self.answered else None
        return {
            "threshold": self.threshold,
            "answered": self.answered,
            "coverage": self.coverage,
            "accuracy": self.accuracy,
            "interval": interval,
        }


def abstention(sure: Sequence[float], right: Sequence[bool], *, below: float) -> Abstention:
    """Return what abstaining does to a run.

    Args:
        sure: the probability of each row's likeliest label.
        right: whether that label is the right one.
        below: the threshold.
    """
    answered = [good for probability, good in zip(sure, right, strict=True) if probability >= below]
    return Abstention(threshold=below, n=len(sure), answered=len(answered), right=sum(answered))
