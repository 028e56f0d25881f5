"""Scoring a model over rows, with every row kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.table import read_split
from ..errors import AdapterMismatchError, MissingFileError, UsageError
from ..files import sha256_json, write_bytes
from ..inference.adapter import load_adapter
from ..inference.scoring import Progress, score_labels
from ..models.base import Quantization, load_model, load_tokenizer, locate_base
from ..models.repository import fetch
from ..prompts import Form, PromptContract
from ..tasks import get
from ..tasks.task import Split
from .metrics import LabelScores, label_scores
from .shared import score_shared

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of one model on one task, and the rows that they are computed from.

    ``rows`` has for each row ``text``, ``gold``, ``predicted``, ``scores`` (a probability per
    label) and ``prompt_digest``; ``seconds_per_example`` is wall-clock over the whole run.
    """

    task: str
    scores: LabelScores
    seconds_per_example: float
    contract_digest: str
    rows: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows as plain JSON values."""
        return {
            "task": self.task,
            **asdict(self.scores),
            "seconds_per_example": self.seconds_per_example,
            "contract_digest": self.contract_digest,
        }

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
    task: str,
    batch_size: int = 32,
    progress: Progress | None = None,
    shared: bool = False,
) -> Evaluation:
    """Score every row by the likelihood of its labels; the tail of the data is never dropped.

    With ``shared`` the processes of a launch share the rows out, and each gets the whole result;
    all of them must call.
    """
    started = time.perf_counter()
    score = score_shared if shared else score_labels
    scored = score(model, tokenizer, contract, rows, batch_size=batch_size, progress=progress)
    seconds = time.perf_counter() - started
    gold = [row["label"] for row in rows]
    predicted = [max(scores, key=scores.__getitem__) for scores in scored]
    results: list[dict[str, Any]] = [
        {
            **{name: value for name, value in row.items() if name != "label"},
            "gold": row["label"],
            "predicted": label,
            "scores": scores,
            "prompt_digest": sha256_json(contract.prompt_text(row)),
        }
        for row, label, scores in zip(rows, predicted, scored, strict=True)
    ]
    return Evaluation(
        task=task,
        scores=label_scores(gold, predicted, labels=contract.labels),
        seconds_per_example=seconds / len(results),
        contract_digest=contract.digest,
        rows=results,
    )


def evaluate(
    reference: str | Path,
    *,
    task: str | None = None,
    data_dir: Path | None = None,
    split: Split = "test",
    form: Form = "plain",
    quantization: Quantization | None = None,
    revision: str | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a base model or an adapter (a folder or a hub id) on one split of a task.

    An adapter brings its own task and prompt; a base is asked in ``form``.

    Args:
        task: name of the task; may be left out for an adapter.
        limit: only the first rows, for a quick look.
    """
    if _is_adapter(str(reference), revision):
        adapter = load_adapter(reference, revision=revision, quantization=quantization or "auto")
        model, tokenizer, contract = adapter.model, adapter.tokenizer, adapter.contract
        chosen = get(task or adapter.task)
        if task is not None and chosen.contract(contract.form).digest != contract.digest:
            raise AdapterMismatchError(
                f"'{reference}' was trained for task '{adapter.task}' with another prompt than "
                f"task '{task}' has.",
                fix="Evaluate it on its own task.",
            )
    else:
        if task is None:
            raise UsageError(
                f"'{reference}' is a base model, so the task must be named.", fix="Pass --task."
            )
        chosen = get(task)
        contract = chosen.contract(form)
        folder, _ = locate_base(str(reference), revision=revision)
        model = load_model(folder, quantization=quantization or "none")
        tokenizer = load_tokenizer(folder)
    rows = read_split(chosen, split, data_dir=data_dir).rows[:limit]
    return evaluate_rows(
        model,
        tokenizer,
        contract,
        rows,
        task=chosen.name,
        batch_size=batch_size,
        progress=progress,
    )


def _is_adapter(reference: str, revision: str | None) -> bool:
    from ..models.tiny import TINY_ID

    if reference == TINY_ID:
        return False
    try:
        fetch(reference, revision=revision, needs="adapter_config.json")
    except MissingFileError:
        return False
    return True
