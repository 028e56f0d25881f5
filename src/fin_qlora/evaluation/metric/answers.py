"""The scores of free answers as a metric of the `evaluate` library, also loadable by path."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import datasets
import evaluate

# `evaluate.load` runs a copy of this file outside the package, where relative imports end nowhere
from fin_qlora.errors import DataError
from fin_qlora.evaluation.answers import ScoredAnswer, answer_scores
from fin_qlora.tasks import get

_DESCRIPTION = """\
What became of free answers (tags, values, formulas, text): exact, rounded, off by a scale or a
sign, wrong, or unreadable; and the further figures that the task is told by."""

_INPUTS = """\
predictions: what was written, a text a row. references: the right answers. task: the name of the
task, or a file that describes one. rows (optional): the fields of each row, where the right answer
alone does not say all (accuracy of a value, alternatives). seen (optional): the right answers of
the training rows."""


class AnswerMetric(evaluate.Metric):
    """Outcomes and figures of free answers, read and compared as a task does; needs no network.

    ``AnswerMetric().compute(predictions=[…], references=[…], task="xbrl_value")`` returns what
    ``answer_scores`` does, as plain values.
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
        task: str,
        rows: list[dict[str, Any]] | None = None,
        seen: list[str] | None = None,
    ) -> dict[str, Any]:
        chosen = get(task)
        fields = rows if rows is not None else [{} for _ in references]
        if len(fields) != len(references):
            raise DataError(f"There are {len(references)} right answers and {len(fields)} rows.")
        answers = [
            ScoredAnswer(
                gold=gold,
                output=output or "",
                finished=True,
                score=chosen.score(output or "", {**row, "label": gold}),
            )
            for output, gold, row in zip(predictions, references, fields, strict=True)
        ]
        return asdict(answer_scores(answers, metrics=chosen.metrics, seen=seen))
