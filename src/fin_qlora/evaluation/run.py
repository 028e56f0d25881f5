"""Scoring a base or an adapter on a split of each task."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..data.table import Table, read_split, without_rows_of
from ..errors import MissingFileError, UsageError
from ..evidence.cost import ProcessMeter
from ..files import sha256_json
from ..inference.reading.batches import Progress
from ..models.base import Quantization
from ..prompts import PromptContract, choose_shots
from ..tasks import Task, get
from .cost import evaluation_cost
from .evaluation import Evaluation
from .journal import JOURNAL, Journal
from .published import as_published
from .rows import evaluate_rows
from .settings import EvaluationSettings
from .subject import Subject, open_subject

#: Shows how far a task is: from its name and rows to a callback that takes the rows done.
Counting = Callable[[str, int], AbstractContextManager[Progress | None]]


@dataclass(frozen=True, kw_only=True)
class Questioning:
    """One task as it is going to be asked."""

    task: Task
    contract: PromptContract
    table: Table
    rows: list[dict[str, str]]
    seen: frozenset[str] | None


def evaluate(
    reference: str | Path,
    *,
    task: str | None = None,
    quantization: Quantization | None = None,
    revision: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Evaluation:
    """Evaluate a base model or an adapter (a folder or a hub id) on one split of one task.

    Args:
        task: name of the task, or a file that describes it; may be left out for an adapter of one.
        settings: those of EvaluationSettings.
    """
    subject = open_subject(str(reference), revision=revision, quantization=quantization)
    if task is None and len(subject.tasks) > 1:
        raise UsageError(
            f"The adapter has several tasks: {', '.join(subject.tasks)}.", fix="Say which one."
        )
    chosen = EvaluationSettings(**settings, tasks=(task,) if task else ())
    (asked,) = questions(subject, chosen)
    return evaluate_task(subject, asked, chosen, progress=progress)


def check_rows(settings: EvaluationSettings) -> None:
    """Read the rows of the tasks that are named, before a model is loaded for nothing.

    Raises as ``questions`` does.
    """
    for name in settings.tasks:
        read_split(get(name), settings.split, data_dir=settings.data_dir)


def questions(subject: Subject, settings: EvaluationSettings) -> list[Questioning]:
    """Read the rows of every task, and say how the model is asked about them.

    Raises:
        UsageError: no task is named for a base, or an adapter is to be shown examples.
        AdapterMismatchError: the adapter was trained for another task.
        MissingFileError, EmptyDatasetError, UnknownLabelError, DataError: each names the file.
    """
    if subject.is_adapter and settings.shots:
        raise UsageError(
            f"'{subject.name}' is an adapter and has the shots that it was trained with.",
            fix="Leave out shots.",
        )
    tasks = subject.tasks_named(settings.tasks)
    contracts = [subject.prompt(task, form=settings.form) for task in tasks]
    return [
        _questioning(task, contract, settings)
        for task, contract in zip(tasks, contracts, strict=True)
    ]


def _questioning(task: Task, contract: PromptContract, settings: EvaluationSettings) -> Questioning:
    table = read_split(task, settings.split, data_dir=settings.data_dir)
    if settings.shots:
        train = read_split(task, "train", data_dir=settings.data_dir)
        drawn = choose_shots(
            contract,
            without_rows_of(train, table).rows,
            count=settings.shots,
            seed=settings.shots_seed,
        )
        contract = replace(contract, shots=drawn)
    return Questioning(
        task=task,
        contract=contract,
        table=table,
        rows=table.rows[: settings.limit],
        seen=_seen(task, settings),
    )


def _seen(task: Task, settings: EvaluationSettings) -> frozenset[str] | None:
    """Return the tags of the training rows; None for other answers, or where there are none."""
    if task.answer != "tag":
        return None
    with contextlib.suppress(MissingFileError):
        train = read_split(task, "train", data_dir=settings.data_dir)
        return frozenset(row["label"] for row in train.rows)
    return None


def evaluate_all(
    subject: Subject,
    asked: Sequence[Questioning],
    settings: EvaluationSettings,
    *,
    out: Path | None = None,
    counting: Counting | None = None,
) -> list[Evaluation]:
    """Evaluate every task, one after the other; all processes of a launch must call.

    Args:
        out: where finished rows are kept after each batch, in ``journal/``; rows that are there
            already are not asked again.

    Raises:
        CheckpointMismatchError: the rows there are of another evaluation.
        DataError, MemoryShortError: as ``evaluate_rows``; what is finished is kept.
    """
    found = []
    several = 2 if settings.answers == "both" else 1
    for one in asked:
        total = len(one.rows) * (several if one.contract.grammar == "label" else 1)
        place = counting(one.task.name, total) if counting else contextlib.nullcontext(None)
        with place as progress:
            found.append(evaluate_task(subject, one, settings, out=out, progress=progress))
    return found


def evaluate_task(
    subject: Subject,
    one: Questioning,
    settings: EvaluationSettings,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate one task; see ``evaluate_all``."""
    meter = ProcessMeter()
    identity = identity_of(subject, one, settings)
    launched = torch.distributed.is_initialized()
    rank = torch.distributed.get_rank() if launched else 0

    def journal(question: str) -> Journal | None:
        if out is None:
            return None
        return Journal(
            out / JOURNAL,
            name=f"{one.task.name}.{question}",
            identity={**identity, "answers": question},
            rank=rank,
        )

    found = evaluate_rows(
        subject.model,
        subject.tokenizer,
        one.contract,
        one.rows,
        task=one.task,
        answers=settings.answers,
        batch_size=settings.batch_size,
        abstain_below=settings.abstain_below if one.contract.grammar == "label" else None,
        calibration=subject.calibration(one.contract),
        on_overlong=settings.on_overlong,
        seen=one.seen,
        progress=progress,
        shared=not subject.staged,
        journals=journal,
    )
    cost = evaluation_cost(found, meter, adapter_bytes=subject.adapter_bytes)
    if subject.staged:
        cost["pipeline"] = subject.model.report().to_dict()
    return replace(found, about=_about(subject, one, settings), identity=identity, cost=cost)


def identity_of(subject: Subject, one: Questioning, settings: EvaluationSettings) -> dict[str, Any]:
    """Return all that the results of the rows depend on, as JSON values."""
    return {
        "model": subject.base.digest,
        "adapter": subject.adapter_digest,
        "tokenizer": subject.tokenizer_digest,
        "task": one.task.name,
        "quantization": subject.quantization,
        "form": one.contract.form,
        "shots": len(one.contract.shots),
        "split": settings.split,
        "limit": settings.limit,
        "answers": settings.answers if one.contract.grammar == "label" else "generate",
        "contract": one.contract.digest,
        "data": sha256_json([dict(row) for row in one.rows]),
    }


def _about(subject: Subject, one: Questioning, settings: EvaluationSettings) -> dict[str, Any]:
    file = one.table.file
    calibration = subject.calibration(one.contract)
    return {
        "model": subject.name,
        "revision": subject.revision,
        "base": subject.base.to_dict(),
        "adapter_digest": subject.adapter_digest,
        "calibration": calibration and calibration.to_dict(),
        "quantization": subject.quantization,
        "form": one.contract.form,
        "shots": len(one.contract.shots),
        "split": settings.split,
        "limit": settings.limit,
        "batch_size": settings.batch_size,
        "synthetic": one.task.synthetic,
        "data": {"file": file.path, "sha256": file.sha256, "rows": len(one.table.rows)},
        "partial_file": file.partial,
        "as_published": as_published(
            one.task, [(part.path, part.sha256, part.rows) for part in one.table.files]
        ),
    }
