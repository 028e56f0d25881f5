"""Accuracy, weighted F1 and the baseline that they must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import EmptyDatasetError


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """Scores over ``n`` rows, all as shares of one.

    Attributes:
        accuracy: right answers / rows.
        weighted_f1: F1 of each label, weighted by its share among the true labels.
        majority: accuracy of always answering the most frequent true label.
        confusion: true label -> predicted label -> rows.
    """

    n: int
    accuracy: float
    weighted_f1: float
    majority: float
    confusion: dict[str, dict[str, int]]

    def figures(self) -> dict[str, Any]:
        """Return what the evidence tells of these scores besides rows and majority."""
        return {"accuracy": self.accuracy, "weighted_f1": self.weighted_f1}


def label_scores(
    true: Sequence[str], predicted: Sequence[str], *, labels: Sequence[str]
) -> LabelScores:
    """Compare predicted with true labels. Raises EmptyDatasetError when there is none."""
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    if not true:
        raise EmptyDatasetError("There is no row to score.")
    matrix = confusion_matrix(true, predicted, labels=list(labels)).tolist()
    return LabelScores(
        n=len(true),
        accuracy=float(accuracy_score(true, predicted)),
        weighted_f1=float(
            f1_score(true, predicted, labels=list(labels), average="weighted", zero_division=0.0)
        ),
        majority=Counter(true).most_common(1)[0][1] / len(true),
        confusion={
            label: dict(zip(labels, row, strict=True))
            for label, row in zip(labels, matrix, strict=True)
        },
    )
