"""A folder of results: results.json with the figures, and the rows of each task as parquet."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import DataError, MissingFileError
from ..evidence.environment import machine, versions
from ..evidence.schema import check, read_json_object
from ..files import sha256_file, write_json
from .evaluation import Evaluation
from .journal import JOURNAL, check_identity
from .row_file import read_about, read_rows

RESULTS = "results.json"
ROWS = "rows"


@dataclass(frozen=True, kw_only=True)
class TaskResults:
    """The results of one model on one task, as they lie on disk.

    Attributes:
        labels: the labels to choose from; empty where answers are free.
        answers: how they were given: ``likelihood``, ``generate`` or ``both``.
        about: what was evaluated on what; ``side`` is ``base`` or ``adapter`` in the folder of an
            adapter.
        file: the rows, as parquet.
        figures: the task's entry of results.json; empty where the file of rows stands alone.
    """

    task: str
    labels: tuple[str, ...]
    grammar: str
    answers: str
    contract_digest: str
    data_digest: str
    about: Mapping[str, Any]
    file: Path
    figures: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows with their columns, in the order of the data; read when first asked for."""
        return read_rows(self.file)


def check_out(out: Path, identities: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a folder that holds results of another evaluation, before the model is asked.

    Args:
        identities: name of each task -> what its results depend on.

    Raises:
        CheckpointMismatchError: it does; the setting that differs is named.
        DataError: its results.json was damaged.
    """
    for entry in _entries(out):
        if entry["task"] in identities:
            check_identity(entry["identity"], identities[entry["task"]], place=out)


def forget(out: Path, tasks: Sequence[str]) -> None:
    """Forget what an earlier evaluation has left of tasks: finished rows and figures."""
    for name in tasks:
        for path in (out / JOURNAL).glob(f"{name}.*.jsonl"):
            path.unlink()
        (out / ROWS / f"{name}.parquet").unlink(missing_ok=True)
    kept = [entry for entry in _entries(out) if entry["task"] not in tasks]
    if (out / RESULTS).is_file():
        if kept:
            write_json(out / RESULTS, _complete(kept))
        else:
            (out / RESULTS).unlink()
    if (out / JOURNAL).is_dir() and not any((out / JOURNAL).iterdir()):
        shutil.rmtree(out / JOURNAL)


def write_results(out: Path, found: Sequence[Evaluation]) -> Path:
    """Write the rows of every task, then results.json; return its path.

    Entries of other tasks that were there stay. Each file is the old one or the new one.

    Raises DataError when a figure does not follow results.schema.json; then it is not written.
    """
    mine = []
    for one in found:
        name = f"{ROWS}/{one.task}.parquet"
        one.write_rows(out / name)
        mine.append({**one.to_dict(), "file": {"path": name, "sha256": sha256_file(out / name)}})
    names = {one.task for one in found}
    others = [entry for entry in _entries(out) if entry["task"] not in names]
    path = out / RESULTS
    complete = _complete([*others, *mine])
    check(complete, schema="results", place=str(path))
    write_json(path, complete)
    return path


def _complete(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "schema": 1,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "fin_qlora": __version__,
        "versions": versions(),
        "machine": machine(),
        "tasks": list(entries),
    }


def _entries(out: Path) -> list[dict[str, Any]]:
    if not (out / RESULTS).is_file():
        return []
    value = read_json_object(out / RESULTS, schema="results", fix="Evaluate with --out.")
    entries: list[dict[str, Any]] = value["tasks"]
    return entries


def read_results(path: Path) -> list[TaskResults]:
    """Return the results in a folder that an evaluation left, an adapter's folder, or a file.

    Args:
        path: a folder with results.json, an adapter's folder (its rows lie in ``eval/``), or one
            parquet file.

    Raises:
        MissingFileError: there are no results.
        DataError: a file is damaged, or the rows are not those of which results.json tells.
    """
    if path.suffix == ".parquet":
        return [_alone(path)]
    if path.name == RESULTS:
        path = path.parent
    if (path / RESULTS).is_file():
        return [_entry(path, entry) for entry in _entries(path)]
    files = sorted((path / "eval").glob("*.parquet"))
    if not files:
        raise MissingFileError(
            f"'{path}' holds no results: neither {RESULTS} nor eval/*.parquet.",
            fix=f"Evaluate with --out {path}.",
        )
    return [_alone(file) for file in files]


def _alone(file: Path, figures: Mapping[str, Any] | None = None) -> TaskResults:
    told = read_about(file)
    side = file.stem.removeprefix(f"{told['task']}-")
    of_side = {"side": side} if file.parent.name == "eval" and side != file.stem else {}
    return TaskResults(
        task=told["task"],
        labels=tuple(told["labels"]),
        grammar=told["grammar"],
        answers=told["answers"],
        contract_digest=told["contract_digest"],
        data_digest=told["data_digest"],
        about={**told["about"], **of_side},
        file=file,
        figures=figures or {},
    )


def _entry(folder: Path, entry: Mapping[str, Any]) -> TaskResults:
    file = folder / ROWS / f"{entry['task']}.parquet"
    if not file.is_file():
        raise MissingFileError(f"'{file}' is missing.", fix="Evaluate again.")
    if sha256_file(file) != entry["file"]["sha256"]:
        raise DataError(
            f"'{file}' is not the file that {RESULTS} tells of: its digest differs.",
            fix="It was changed or damaged; evaluate again.",
        )
    return _alone(file, entry)
