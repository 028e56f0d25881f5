"""The label scores as a metric of the `evaluate` library, for those who evaluate with it."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from .metrics import label_scores

_DESCRIPTION = "Accuracy and weighted F1 of predicted label words, with the majority baseline."
_INPUTS = "predictions and references: label words; labels: all label words of the task."


class LabelMetric(evaluate.Metric):
    """Accuracy, weighted F1 and majority over label words; needs no network.

    ``LabelMetric().compute(predictions=[…], references=[…], labels=[…])`` returns ``accuracy``,
    ``weighted_f1`` and ``majority`` as shares of one.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("string"),
                    "references": datasets.Value("string"),
                }
            ),
        )

    def _compute(
        self, *, predictions: list[str], references: list[str], labels: list[str]
    ) -> dict[str, Any]:
        scores = label_scores(references, predictions, labels=labels)
        return {
            "accuracy": scores.accuracy,
            "weighted_f1": scores.weighted_f1,
            "majority": scores.majority,
        }
