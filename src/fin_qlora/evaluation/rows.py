"""Scoring a model over rows, with every row kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import sha256_json, write_bytes
from ..inference.batches import Progress
from ..inference.generation import generate_answers
from ..inference.scoring import score_labels
from ..prompts import PromptContract
from ..tasks import Task
from .answers import AnswerScores, ScoredAnswer, answer_scores
from .metrics import LabelScores, label_scores
from .shared import Ask, shared_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one model on one task, and the rows that they are computed from.

    ``rows`` has for each row its fields, ``gold`` and ``prompt_digest``. Where answers are labels
    also ``predicted`` and ``scores`` (a probability per label); where they are free also
    ``output`` (what was written), ``parsed`` (what was read in it, or None), ``outcome``, ``flags``
    (what is odd about it) and ``finished``. ``seconds_per_example`` is wall-clock over the whole
    run. ``about`` says what was evaluated on what: model, base, quantization, prompt, split, file.
    """

    task: str
    scores: LabelScores | AnswerScores
    seconds_per_example: float
    contract_digest: str
    rows: list[dict[str, Any]]
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows as plain JSON values."""
        return {
            "task": self.task,
            **asdict(self.scores),
            "seconds_per_example": self.seconds_per_example,
            "contract_digest": self.contract_digest,
            **self.about,
        }

    def figures(self) -> dict[str, Any]:
        """Return the figures of this model that the evidence holds, as plain JSON values."""
        return {**self.scores.figures(), "seconds_per_example": self.seconds_per_example}

    def write_rows(self, path: Path) -> None:
        """Write the rows as parquet, one a line of the data, whole or not at all."""
        import pyarrow
        import pyarrow.parquet

        stream = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(self.rows), stream)
        write_bytes(path, stream.getvalue().to_pybytes())


def evaluate_rows(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    rows: Sequence[Mapping[str, str]],
    *,
    task: Task,
    batch_size: int = 32,
    progress: Progress | None = None,
    shared: bool = False,
) -> Evaluation:
    """Score every row: labels by their likelihood, free answers as the task reads and scores them.

    The tail of the data is never dropped. With ``shared`` the processes of a launch share the rows
    out, and each gets the whole result; all of them must call.

    Raises:
        EmptyDatasetError: there is no row.
        DataError: the right answer of a row cannot be read.
        TruncatedAnswerError: a prompt leaves no room for its answer.
    """
    started = time.perf_counter()
    ask: Ask = score_labels if contract.grammar == "label" else generate_answers
    if shared:
        ask = shared_out(ask)
    found = ask(model, tokenizer, contract, rows, batch_size=batch_size, progress=progress)
    seconds = time.perf_counter() - started
    judged = _judged_labels if contract.grammar == "label" else _judged_answers
    scores, results = judged(task, contract, rows, found)
    return Evaluation(
        task=task.name,
        scores=scores,
        seconds_per_example=seconds / len(results),
        contract_digest=contract.digest,
        rows=[
            {
                **{name: value for name, value in row.items() if name != "label"},
                "gold": row["label"],
                **result,
                "prompt_digest": sha256_json(contract.prompt_text(row)),
            }
            for row, result in zip(rows, results, strict=True)
        ],
    )


_Results = list[dict[str, Any]]


def _judged_labels(
    task: Task, contract: PromptContract, rows: Sequence[Mapping[str, str]], found: Any
) -> tuple[LabelScores, _Results]:
    predicted = [max(scores, key=scores.__getitem__) for scores in found]
    scores = label_scores([row["label"] for row in rows], predicted, labels=contract.labels)
    return scores, [
        {"predicted": label, "scores": each} for label, each in zip(predicted, found, strict=True)
    ]


def _judged_answers(
    task: Task, contract: PromptContract, rows: Sequence[Mapping[str, str]], found: Any
) -> tuple[AnswerScores, _Results]:
    answers = [
        ScoredAnswer(
            gold=row["label"],
            output=one.text,
            finished=one.finished,
            score=task.score(one.text, row),
        )
        for row, one in zip(rows, found, strict=True)
    ]
    return answer_scores(answers, metrics=task.metrics), [
        {
            "output": one.output,
            "parsed": one.score.read,
            "outcome": one.score.outcome,
            "flags": list(one.score.flags),
            "finished": one.finished,
        }
        for one in answers
    ]
