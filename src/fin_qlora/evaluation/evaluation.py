"""What an evaluation found: scores of one model on one task, and the rows behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from .abstention import Abstention
from .agreement import Agreement
from .answers import AnswerScores
from .metrics import LabelScores
from .row_file import write_row_file

#: How labels are answered: the likeliest one, the one that is written, or both, compared.
Answers = Literal["likelihood", "generate", "both"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one model on one task, and the rows that they are computed from.

    Attributes:
        scores: of the headline answers: the likeliest labels, or what was written.
        intervals: of the scores, 95 %, with rows taken singly and in their clusters.
        generated: scores of the labels that were written, where both ways were asked.
        agreement: how far the two ways agree.
        abstention: what a threshold of probability does.
        overlong: numbers of the rows, from 1, that were counted as wrong without being asked.
        seconds_per_example: mean over the rows of their shares of their batches' seconds.
        rows: for each row its own fields, ``gold``, ``prompt_digest``, ``predicted`` (labels) or
            ``parsed`` (what was read in a free answer, or None), ``output`` (what was written),
            ``scores`` (label -> probability), ``log_likelihoods``, ``outcome``, ``flags`` (what is
            odd about it), ``finished`` and ``seconds``; where both ways were asked also
            ``generated``.
        about: what was evaluated on what: model, base, quantization, prompt, split, file.
        cost: time, memory and GPU hours; empty where another part of a run measures them.
        identity: setting -> value of all that the rows depend on.
    """

    task: str
    answers: Answers
    labels: tuple[str, ...]
    grammar: str
    scores: LabelScores | AnswerScores
    intervals: Mapping[str, Any]
    seconds_per_example: float
    contract_digest: str
    data_digest: str
    rows: list[dict[str, Any]]
    generated: LabelScores | None = None
    agreement: Agreement | None = None
    abstention: Abstention | None = None
    overlong: tuple[int, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows as plain JSON values."""
        return {
            "task": self.task,
            "answers": self.answers,
            "grammar": self.grammar,
            "labels": list(self.labels),
            "rows": self.scores.n,
            "scores": asdict(self.scores),
            "intervals": dict(self.intervals),
            "generated": asdict(self.generated) if self.generated else None,
            "agreement": self.agreement.to_dict() if self.agreement else None,
            "abstention": self.abstention.to_dict() if self.abstention else None,
            "overlong": list(self.overlong),
            "seconds_per_example": self.seconds_per_example,
            "contract_digest": self.contract_digest,
            "data_digest": self.data_digest,
            "about": dict(self.about),
            "cost": dict(self.cost),
            "identity": dict(self.identity),
        }

    def figures(self) -> dict[str, Any]:
        """Return the figures of this model that the evidence holds, as plain JSON values."""
        return {
            **self.scores.figures(),
            "intervals": dict(self.intervals),
            "seconds_per_example": self.seconds_per_example,
        }

    def write_rows(self, path: Path) -> None:
        """Write the rows as parquet, one a line of the data, whole or not at all."""
        write_row_file(
            path,
            self.rows,
            about={
                "task": self.task,
                "answers": self.answers,
                "grammar": self.grammar,
                "labels": list(self.labels),
                "contract_digest": self.contract_digest,
                "data_digest": self.data_digest,
                "about": dict(self.about),
            },
        )
