"""Rows of a split, from raw files, from a prepared folder, or from a generator."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EmptyDatasetError, MissingFileError
from ..files import sha256_bytes, sha256_json
from ..tasks import Split, SplitRule, Task
from . import synthetic
from .cleaning import normalised
from .forms import find_form, read_form, read_hub
from .prepared import find_prepared, read_prepared
from .reading import DataFile, Reading, Row
from .splits import divided, group_value, question_key, tidied

if TYPE_CHECKING:
    from ..tasks.source import Part

__all__ = [
    "DataFile",
    "Table",
    "normalised",
    "read_split",
    "read_splits",
    "without_rows_of",
]

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one split, each with ``text``, ``label`` as a word, and the task's further fields.

    Args:
        file: what the rows were read from, as one; ``files`` has each file where there are several.
        dropped: reason -> rows that were left out.
        changed: rule -> rows that it changed.
        seen: oddity -> rows that still have it.
        notes: sentences for a person.
    """

    rows: list[dict[str, str]]
    file: DataFile
    dropped: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[DataFile, ...] = ()


def read_split(
    task: Task,
    split: Split,
    *,
    data_dir: Path | None,
    seed: int = 0,
    rule: SplitRule | None = None,
) -> Table:
    """Read one split of a task.

    ``data_dir`` holds a folder that ``fin-qlora data prepare`` wrote, or the raw files where the
    task's source says, or a ``<split>.parquet``, ``.jsonl`` or ``.csv`` with ``text`` and
    ``label`` columns; a generated task needs none. Rows that were published in one piece are
    divided by ``rule``, which is the task's own if left out.

    Raises:
        MissingFileError, EmptyDatasetError, UnknownLabelError, DataError: each names the file.
    """
    if task.source.generator and data_dir is None:
        return _generated(task, split, seed=seed)
    if data_dir is None:
        raise MissingFileError(
            f"Task '{task.name}' needs data files.",
            fix=f"Pass --data_dir, the folder that holds {_looked_for(task, split)}.",
        )
    if not data_dir.is_dir():
        raise MissingFileError(
            f"The data directory '{data_dir}' does not exist.", fix="Check --data_dir."
        )
    prepared = find_prepared(data_dir, split)
    if prepared is not None and prepared.manifest is not None:
        return _of_reading(read_prepared(prepared, task, split))
    found = _raw_splits(task, data_dir, rule=rule or task.split, wanted=(split,))
    if split in found:
        return found[split]
    if prepared is not None:
        return _of_reading(read_prepared(prepared, task, split))
    raise MissingFileError(
        f"'{data_dir}' has no {split} file for task '{task.name}'.",
        fix=f"Looked for: {_looked_for(task, split)}.",
    )


def read_splits(
    task: Task,
    *,
    data_dir: Path | None,
    rule: SplitRule | None = None,
    from_hub: bool = False,
    revision: str | None = None,
    seed: int = 0,
) -> dict[Split, Table]:
    """Read all splits that there are, so that no row or group of one is in a stricter one.

    Rows that are also in ``test`` or ``validation`` are left out of ``train``, and counted.
    """
    chosen = rule or task.split
    if from_hub:
        found = _hub_splits(task, rule=chosen, revision=revision)
    elif task.source.generator and data_dir is None:
        found = {split: _generated(task, split, seed=seed) for split in task.source.rows}
    elif data_dir is None:
        raise MissingFileError(f"Task '{task.name}' needs data files.", fix="Pass --data_dir.")
    else:
        found = _raw_splits(task, data_dir, rule=chosen, wanted=_SPLITS)
        if not found:
            raise MissingFileError(
                f"'{data_dir}' has no file for task '{task.name}'.",
                fix=f"Looked for: {_looked_for(task, 'train')}, {_looked_for(task, 'test')}.",
            )
    for lower, upper in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if lower in found and upper in found:
            found[lower] = without_rows_of(found[lower], found[upper], task=task, name=upper)
    return found


def without_rows_of(
    train: Table, held_out: Table, *, task: Task | None = None, name: str = "evaluation"
) -> Table:
    """Return ``train`` without the rows whose question is also in ``held_out``.

    A row that is both trained on and scored would make the score a lie; such rows are counted
    under ``also in evaluation``. With a task, rows that share one of its groups (the filing, the
    company, the same words) go too.
    """
    groups = task.split.group_by if task else ()
    questions = {_question(row, task) for row in held_out.rows}
    values = {(g, group_value(row, g)) for row in held_out.rows for g in groups}
    kept: list[Row] = []
    left: Counter[str] = Counter()
    for row in train.rows:
        shared = [g for g in groups if (value := group_value(row, g)) and (g, value) in values]
        if _question(row, task) in questions:
            left[f"also in {name}"] += 1
        elif shared:
            what = "its words are" if shared[0] == "text" else f"its {shared[0]} is"
            left[f"{what} also in {name}"] += 1
        else:
            kept.append(row)
    if not kept:
        raise EmptyDatasetError(
            "Every training row is also an evaluation row.", fix="Use different files."
        )
    return replace(train, rows=kept, dropped=dict(Counter(train.dropped) + left))


def _question(row: Mapping[str, str], task: Task | None) -> tuple[str, ...]:
    if task:
        return question_key(row, task)
    return normalised(row["text"]), row.get("entity", "")


def _raw_splits(
    task: Task, data_dir: Path, *, rule: SplitRule, wanted: Sequence[Split]
) -> dict[Split, Table]:
    """Read the wanted splits from raw files; what is not there is left out."""
    published: tuple[Part, ...] = ("train", "validation", "test", "pool")
    forms = {part: find_form(task, part, data_dir) for part in published}
    parts: dict[Part, Callable[[], Reading]] = {
        part: functools.partial(read_form, form, task, data_dir)
        for part, form in forms.items()
        if form is not None
    }
    return _assembled(task, parts, rule=rule, wanted=wanted)


def _hub_splits(task: Task, *, rule: SplitRule, revision: str | None) -> dict[Split, Table]:
    hub = task.source.hub
    if hub is None:
        raise MissingFileError(
            f"Task '{task.name}' names no data set on a hub.",
            fix="Pass --data_dir with the raw files.",
        )
    parts: dict[Part, Callable[[], Reading]] = {
        part: functools.partial(read_hub, hub, part, task, revision=revision) for part in hub.parts
    }
    return _assembled(task, parts, rule=rule, wanted=_SPLITS)


def _assembled(
    task: Task,
    parts: Mapping[Part, Callable[[], Reading]],
    *,
    rule: SplitRule,
    wanted: Sequence[Split],
) -> dict[Split, Table]:
    """Read published splits as they are, and divide what was published in one piece.

    What is trained on is tidied; what was published as a test stays as it was published.
    """
    found: dict[Split, Table] = {}
    divide: dict[Part, tuple[Split, ...]] = {}
    if "pool" in parts and "train" not in parts:
        divide["pool"] = tuple(split for split in _SPLITS if split not in parts)
    elif rule.validation and "train" in parts and "validation" not in parts:
        divide["train"] = ("train", "validation")
    for split in wanted:
        if split in parts and split not in divide:
            tidy_for = task if split == "train" else None
            found[split] = _of_reading(parts[split](), tidy_for=tidy_for)
    for part, into in divide.items():
        if set(into) & set(wanted):
            table = _of_reading(parts[part](), tidy_for=task)
            for split, rows in divided(table.rows, rule, parts=into).items():
                found[split] = replace(table, rows=rows)
                if split != "train":  # what became of the other records is told once
                    found[split] = replace(found[split], dropped={}, changed={}, seen={})
    return {split: found[split] for split in _SPLITS if split in found and split in wanted}


def _of_reading(reading: Reading, *, tidy_for: Task | None = None) -> Table:
    dropped = Counter(reading.dropped)
    rows = tidied(reading.rows, tidy_for, dropped=dropped) if tidy_for else reading.rows
    if not rows:
        names = " and ".join(f"'{file.path}'" for file in reading.files)
        raise EmptyDatasetError(f"{names} has no usable row.", fix="Check the file.")
    return Table(
        rows=rows,
        file=_as_one(reading.files),
        files=tuple(reading.files),
        dropped=_counted(dropped),
        changed=_counted(reading.changed),
        seen=_counted(reading.seen),
        notes=tuple(reading.notes),
    )


def _counted(counter: Counter[str]) -> dict[str, int]:
    return {reason: count for reason, count in sorted(counter.items()) if count}


def _as_one(files: Sequence[DataFile]) -> DataFile:
    if len(files) == 1:
        return files[0]
    published = [file.published for file in files]
    return DataFile(
        path=" + ".join(file.path for file in files),
        sha256=sha256_json([file.sha256 for file in files]),
        rows=sum(file.rows for file in files),
        partial=any(file.partial for file in files),
        published=None if None in published else sum(n for n in published if n),
    )


def _generated(task: Task, split: Split, *, seed: int) -> Table:
    if split not in task.source.rows:
        raise MissingFileError(
            f"Task '{task.name}' makes no {split} rows.",
            fix=f"It makes {', '.join(task.source.rows)}.",
        )
    make_rows = synthetic.GENERATORS[task.source.generator]
    rows = make_rows("train" if split == "train" else "test", task.source.rows[split], seed)
    text = "\n".join(json.dumps(row, sort_keys=True) for row in rows)
    digest = sha256_bytes(text.encode("utf-8"))
    file = DataFile(
        path=f"synthetic:{task.name}/{split}?seed={seed}",
        sha256=digest,
        rows=len(rows),
        partial=False,
    )
    return Table(rows=rows, file=file, files=(file,))


def _looked_for(task: Task, split: Split) -> str:
    raw = [
        form.files[0].path
        for form in task.source.forms
        if form.part in (split, "pool") and not form.reference
    ]
    return ", ".join([*raw, *(f"{split}{ending}" for ending in (".parquet", ".jsonl", ".csv"))])
