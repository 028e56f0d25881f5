"""Scoring a model over rows, with every row kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.table import read_split, without_rows_of
from ..errors import AdapterMismatchError, MissingFileError, UsageError
from ..files import sha256_json, write_bytes
from ..inference.adapter import load_adapter
from ..inference.scoring import Progress, score_labels
from ..models.base import Quantization, load_model, load_tokenizer, locate_base
from ..models.repository import fetch
from ..prompts import Form, PromptContract, choose_shots
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
    ``about`` says what was evaluated on what: model, base, quantization, prompt, split, file.
    """

    task: str
    scores: LabelScores
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
    shots: int = 0,
    shots_seed: int = 0,
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
        shots: worked examples that a base is shown, drawn by ``shots_seed`` from training rows
            whose text is in no row of ``split``; an adapter brings those it was trained with.
        limit: only the first rows, for a quick look.
    """
    if _is_adapter(str(reference), revision):
        adapter = load_adapter(reference, revision=revision, quantization=quantization or "auto")
        model, tokenizer, contract = adapter.model, adapter.tokenizer, adapter.contract
        chosen = get(task or adapter.task)
        if shots:
            raise UsageError(
                f"'{reference}' is an adapter and has the shots that it was trained with.",
                fix="Leave out shots.",
            )
        if task is not None and chosen.contract(contract.form).digest != contract.bare.digest:
            raise AdapterMismatchError(
                f"'{reference}' was trained for task '{adapter.task}' with another prompt than "
                f"task '{task}' has.",
                fix="Evaluate it on its own task.",
            )
        table = read_split(chosen, split, data_dir=data_dir)
        base, commit, used = adapter.base, adapter.revision, adapter.quantization
    else:
        if task is None:
            raise UsageError(
                f"'{reference}' is a base model, so the task must be named.", fix="Pass --task."
            )
        chosen = get(task)
        contract = chosen.contract(form)
        table = read_split(chosen, split, data_dir=data_dir)
        if shots:
            train = without_rows_of(read_split(chosen, "train", data_dir=data_dir), table)
            drawn = choose_shots(contract, train.rows, count=shots, seed=shots_seed)
            contract = replace(contract, shots=drawn)
        folder, base = locate_base(str(reference), revision=revision)
        commit, used = base.revision, quantization or "none"
        model = load_model(folder, quantization=used)
        tokenizer = load_tokenizer(folder)
    found = evaluate_rows(
        model,
        tokenizer,
        contract,
        table.rows[:limit],
        task=chosen.name,
        batch_size=batch_size,
        progress=progress,
    )
    about = {
        "model": str(reference),
        "revision": commit,
        "base": base.to_dict(),
        "quantization": used,
        "form": contract.form,
        "shots": len(contract.shots),
        "split": split,
        "limit": limit,
        "data": {"file": table.file.path, "sha256": table.file.sha256, "rows": len(table.rows)},
        "partial_file": table.file.partial,
    }
    return replace(found, about=about)


def _is_adapter(reference: str, revision: str | None) -> bool:
    from ..models.tiny import TINY_ID

    if reference == TINY_ID:
        return False
    try:
        fetch(reference, revision=revision, needs="adapter_config.json")
    except MissingFileError:
        return False
    return True
