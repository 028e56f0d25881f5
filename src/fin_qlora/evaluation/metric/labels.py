"""The label scores as a metric of the `evaluate` library; this file can also be loaded by path."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

# `evaluate.load` runs a copy of this file outside the package, where relative imports end nowhere
from fin_qlora.evaluation.metrics import label_scores

_DESCRIPTION = """\
Scores of predicted label words, held against the majority and the random answerer. What is none of
the labels is a class of its own, `invalid`, and never counted as a label."""

_INPUTS = """\
predictions: what was answered, a word a row. references: the right labels. labels: all labels of
the task, in their order. probabilities (optional): label -> probability, a mapping a row."""


class LabelMetric(evaluate.Metric):
    """Accuracy, F1, baselines, confusion and certainty over label words; needs no network.

    ``LabelMetric().compute(predictions=[…], references=[…], labels=[…])`` returns what
    ``label_scores`` does, as plain values.
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
        self,
        *,
        predictions: list[str | None],
        references: list[str],
        labels: list[str],
        probabilities: list[dict[str, float]] | None = None,
    ) -> dict[str, Any]:
        return label_scores(
            references, predictions, labels=labels, probabilities=probabilities
        ).to_dict()
