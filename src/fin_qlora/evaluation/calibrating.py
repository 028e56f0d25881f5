"""Fitting an adapter's probabilities on rows set apart, and keeping the fit in its folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..data.table import Table, read_split, without_rows_of
from ..errors import AdapterMismatchError, EmptyDatasetError, MissingFileError, UsageError
from ..evidence import read_manifest, read_record, verify_files, write_manifest, write_record
from ..evidence.manifest import MANIFEST
from ..files import directory_in_place
from ..inference import load_adapter
from ..inference.calibration import Calibration, fit
from ..inference.reading.batches import Progress
from ..tasks import Split, Task, get
from .trained_prompt import trained_prompt


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What was fitted for one task.

    Attributes:
        task: its name in the adapter.
        calibration: the fit.
        left_out: rows of the split that are also among those trained on or tested with.
    """

    task: str
    calibration: Calibration
    left_out: int


def calibrate_adapter(
    folder: Path,
    *,
    tasks: Collection[str] = (),
    data_dir: Path | None,
    split: Split = "validation",
    limit: int | None = None,
    batch_size: int = 32,
    counting: Callable[[str, int], AbstractContextManager[Progress | None]] | None = None,
) -> list[Calibrated]:
    """Fit a temperature for each task, and keep it in the adapter's folder.

    A temperature changes how sure an adapter says that it is, and never its answer: accuracy and
    F1 in its manifest stay true. (Biases, which change answers, are fitted by
    ``inference.calibration.fit``.) Rows whose question is also a training or a test row are left
    out.

    Args:
        folder: the adapter; its ``fin_qlora.json`` and ``manifest.json`` are written anew.
        tasks: names or files; all with labels that the adapter was trained for if left out.
        limit: only so many of the rows that are left.

    Raises:
        AdapterMismatchError: the folder differs from its manifest, or is of another task.
        UsageError: ``split`` is what was trained on, or a task has free answers.
        EmptyDatasetError: too few rows are left.
        MissingFileError, DataError: as of reading the split.
    """
    if split == "train":
        raise UsageError(
            "An adapter is surer of the rows that it was trained on than of others.",
            fix="Calibrate on validation rows.",
        )
    findings = verify_files(folder)
    if findings:
        raise AdapterMismatchError(
            f"'{folder}' differs from its manifest: {findings[0]}", fix="Fetch or train it again."
        )
    labelled = [name for name, task in _tasks(folder).items() if task["contract"]["labels"]]
    if not (tasks or labelled):
        raise UsageError(
            f"'{folder}' has free answers, which have no probabilities to calibrate.",
            fix="Calibrate an adapter that gives labels.",
        )
    chosen = [get(name) for name in tasks or labelled]
    tables = [_rows_apart(task, split, data_dir=data_dir) for task in chosen]
    adapter = load_adapter(folder)
    found = []
    for task, (table, left_out) in zip(chosen, tables, strict=True):
        contract = trained_prompt(adapter.tasks, task, form=None, name=str(folder))
        name = next(name for name, own in adapter.tasks.items() if own.digest == contract.digest)
        rows = table.rows[:limit]
        place = counting(name, len(rows)) if counting else contextlib.nullcontext(None)
        with place as progress:
            scores = adapter.score(rows, task=name, batch_size=batch_size, progress=progress)
        fitted = fit(scores, [row["label"] for row in rows], bias="never")
        found.append(Calibrated(task=name, calibration=fitted, left_out=left_out))
    keep_calibrations(folder, {one.task: one.calibration for one in found})
    return found


def keep_calibrations(folder: Path, calibrations: Mapping[str, Calibration]) -> None:
    """Write fits into an adapter's folder: both of its files change, or neither does."""
    record, manifest = read_record(folder), read_manifest(folder)
    for task in record["tasks"]:
        if task["task"] in calibrations:
            task["calibration"] = calibrations[task["task"]].to_dict()
    with directory_in_place(folder, known_by=MANIFEST) as new:
        shutil.copytree(folder, new, dirs_exist_ok=True)
        write_record(new, record)
        write_manifest(new, manifest)


def _tasks(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    return {task["task"]: task for task in read_record(folder)["tasks"]}


def _rows_apart(task: Task, split: Split, *, data_dir: Path | None) -> tuple[Table, int]:
    """Return the rows of a split that no other split has, and how many were left out."""
    if task.answer != "label":
        raise UsageError(
            f"Task '{task.name}' has free answers, which have no probabilities to calibrate.",
            fix="Name tasks with labels.",
        )
    table = read_split(task, split, data_dir=data_dir)
    before = len(table.rows)
    others: tuple[Split, ...] = ("train", "validation", "test")
    for other in others:
        if other == split:
            continue
        with contextlib.suppress(MissingFileError):
            held = read_split(task, other, data_dir=data_dir)
            try:
                table = without_rows_of(table, held, task=task, name=other)
            except EmptyDatasetError:
                raise EmptyDatasetError(
                    f"Every {split} row of '{task.name}' is also a {other} row.",
                    fix="Calibrate on rows that are neither trained on nor evaluated.",
                ) from None
    return table, before - len(table.rows)
