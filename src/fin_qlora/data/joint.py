"""Rows of tasks that are trained together: none that any of them is scored on is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import EmptyDatasetError
from ..tasks import Task
from .cleaning import normalised
from .prepared import find_prepared
from .splits import group_value
from .table import Table, read_split, without_rows_of


def read_together(
    tasks: Sequence[Task], *, data_dir: Path | None, seed: int = 0
) -> list[tuple[Table, Table]]:
    """Return (training rows, evaluation rows) of each task.

    A training row whose question is also an evaluation row is left out and counted, also where it
    is an evaluation row of another task that asks the same of a text. The same text under another
    question stays.

    Args:
        data_dir: as in ``read_split``; where it has a folder with a task's name that holds a
            ``train`` file, that task is read from there. Of several tasks, those that are
            generated and have no such folder are generated.

    Raises:
        MissingFileError, EmptyDatasetError, UnknownLabelError, DataError: each names the file.
    """
    held_out, train = [], []
    for task in tasks:
        place = folder_of(task, data_dir)
        if task.source.generator and len(tasks) > 1 and place == data_dir:
            place = None
        held_out.append(read_split(task, "test", data_dir=place, seed=seed))
        rows = read_split(task, "train", data_dir=place, seed=seed)
        train.append(without_rows_of(rows, held_out[-1], task=task))
    for mine, task in enumerate(tasks):
        for other, another in enumerate(tasks):
            if mine != other and ask_alike(task, another):
                train[mine] = _without_those_of(
                    train[mine], held_out[other], task=task, other=another
                )
    return list(zip(train, held_out, strict=True))


def folder_of(task: Task, data_dir: Path | None) -> Path | None:
    """Return where a task's rows are: its own folder in ``data_dir``, or ``data_dir`` itself."""
    if data_dir is None:
        return None
    own = data_dir / task.name
    return own if own.is_dir() and find_prepared(own, "train") is not None else data_dir


def ask_alike(one: Task, other: Task) -> bool:
    """Return whether two tasks ask the same of a text, so that the answer to one gives the other's.

    They do when they have the same answers, and when one is a view of the other's rows.
    """
    families = {one.view_of or one.name, other.view_of or other.name}
    if len(families) == 1:
        return True
    return one.answer == other.answer and set(one.label_names) == set(other.label_names)


def _without_those_of(train: Table, held_out: Table, *, task: Task, other: Task) -> Table:
    common = [name for name in task.question_fields if name in other.question_fields]
    fields = [name for name in common if name != "options"]
    by_words = "text" in task.split.group_by and "text" in other.split.group_by

    def keys(row: dict[str, str]) -> set[tuple[str, ...]]:
        found = {tuple(normalised(row.get(name, "")) or row.get(name, "") for name in fields)}
        if by_words:
            found.add(("words", group_value(row, "text")))
        return found

    scored = {key for row in held_out.rows for key in keys(row)}
    kept = [row for row in train.rows if scored.isdisjoint(keys(row))]
    if not kept:
        raise EmptyDatasetError(
            f"Every training row of task '{task.name}' is also an evaluation row of task "
            f"'{other.name}'.",
            fix="Use different files.",
        )
    gone = len(train.rows) - len(kept)
    reason = f"also in evaluation of {other.name}"
    return replace(train, rows=kept, dropped=train.dropped | {reason: gone}) if gone else train
