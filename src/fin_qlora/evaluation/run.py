"""Scoring a base or an adapter on a split of a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..data.table import read_split, without_rows_of
from ..errors import AdapterMismatchError, MissingFileError, UsageError
from ..inference.adapter import Adapter, load_adapter
from ..inference.batches import Progress
from ..models.base import Quantization, load_model, load_tokenizer, locate_base
from ..models.repository import fetch
from ..prompts import Form, PromptContract, choose_shots
from ..tasks import Task, get
from ..tasks.task import Split
from .rows import Evaluation, evaluate_rows


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

    An adapter brings its own tasks and prompts; a base is asked in ``form``.

    Args:
        task: name of the task, or a file that describes it; may be left out for an adapter of one.
        shots: worked examples that a base is shown, drawn by ``shots_seed`` from training rows
            whose text is in no row of ``split``; an adapter brings those it was trained with.
        limit: only the first rows, for a quick look.
    """
    if _is_adapter(str(reference), revision):
        if shots:
            raise UsageError(
                f"'{reference}' is an adapter and has the shots that it was trained with.",
                fix="Leave out shots.",
            )
        adapter = load_adapter(reference, revision=revision, quantization=quantization or "auto")
        model, tokenizer = adapter.model, adapter.tokenizer
        chosen = get(task or adapter.task)
        contract = _contract(adapter, chosen, name=str(reference))
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
        task=chosen,
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


def _contract(adapter: Adapter, task: Task, *, name: str) -> PromptContract:
    """Return the adapter's prompt for a task: by its name, or one that asks the very same."""
    if task.name in adapter.tasks:
        asked = [adapter.tasks[task.name]]
    else:
        asked = list(adapter.tasks.values())
    for contract in asked:
        if task.contract(contract.form).digest == contract.bare.digest:
            return contract
    raise AdapterMismatchError(
        f"'{name}' was trained for {', '.join(adapter.tasks)} with another prompt than task "
        f"'{task.name}' has.",
        fix="Evaluate it on its own task.",
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
