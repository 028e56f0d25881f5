"""Reading rows from the files in which they really come."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, EmptyDatasetError, MissingFileError
from ..files import sha256_bytes, sha256_file
from ..tasks import Task
from ..tasks.task import Split
from . import synthetic

_BLANKS = re.compile(r"\s+")
_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """The file that rows were read from; ``partial`` when it has fewer rows than were published."""

    path: str
    sha256: str
    rows: int
    partial: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of one split, each with ``text``, ``label`` as a word, and the task's further fields.

    ``dropped`` counts the rows that were left out, by reason.
    """

    rows: list[dict[str, str]]
    file: DataFile
    dropped: dict[str, int] = field(default_factory=dict)


def normalised(text: str) -> str:
    """Return the text without links, case and blank differences: what counts as the same row."""
    return _BLANKS.sub(" ", _LINK.sub(" ", text)).strip().casefold()


def read_split(task: Task, split: Split, *, data_dir: Path | None, seed: int = 0) -> Table:
    """Read one split of a task.

    ``data_dir`` holds the raw files where the task's source says, or a prepared
    ``<split>.parquet`` or ``<split>.jsonl`` with ``text`` and ``label`` columns, or, for a
    generated task, is not needed.

    Raises:
        MissingFileError, EmptyDatasetError, UnknownLabelError, DataError: each names the file.
    """
    if task.source.generator and data_dir is None:
        return _generated(task, split, seed=seed)
    if data_dir is None:
        raise MissingFileError(
            f"Task '{task.name}' needs data files.",
            fix=f"Pass --data_dir, the folder that holds {task.source.files.get(split)}.",
        )
    path = _locate(task, split, data_dir)
    rows: list[dict[str, str]] = []
    empty = 0
    for number, record in _records(path):
        place = f"{path.name}, row {number}"
        try:
            values = [record[name] for name in (task.text_column, task.label_column, *task.fields)]
        except KeyError as missing:
            raise DataError(
                f"{place} has no column {missing}; its columns are {sorted(record)}.",
                fix=f"Task '{task.name}' reads '{task.text_column}' and '{task.label_column}'.",
            ) from None
        text, label, *fields = (str("" if value is None else value).strip() for value in values)
        if not text:
            empty += 1
            continue
        rows.append(
            {
                "text": text,
                "label": task.label_from_raw(label, place=place),
                **dict(zip(task.fields, fields, strict=True)),
            }
        )
    if not rows:
        raise EmptyDatasetError(f"'{path}' has no usable row.", fix="Check the file.")
    published = task.source.rows.get(split)
    file = DataFile(
        path=str(path.relative_to(data_dir)),
        sha256=sha256_file(path),
        rows=len(rows),
        partial=published is not None and len(rows) + empty < published,
    )
    return Table(rows=rows, file=file, dropped={"empty text": empty} if empty else {})


def without_rows_of(train: Table, held_out: Table) -> Table:
    """Return ``train`` without the rows whose normalised text is also in ``held_out``.

    A row that is both trained on and scored would make the score a lie; they are counted under
    ``also in evaluation``.
    """
    held = {(normalised(row["text"]), row.get("entity", "")) for row in held_out.rows}
    kept = [r for r in train.rows if (normalised(r["text"]), r.get("entity", "")) not in held]
    leaked = len(train.rows) - len(kept)
    if not kept:
        raise EmptyDatasetError(
            "Every training row is also an evaluation row.", fix="Use different files."
        )
    dropped = {**train.dropped, **({"also in evaluation": leaked} if leaked else {})}
    return Table(rows=kept, file=train.file, dropped=dropped)


def _generated(task: Task, split: Split, *, seed: int) -> Table:
    make_rows = synthetic.GENERATORS[task.source.generator]
    rows = make_rows(split, task.source.rows[split], seed)
    text = "\n".join(json.dumps(row, sort_keys=True) for row in rows)
    digest = sha256_bytes(text.encode("utf-8"))
    file = DataFile(
        path=f"synthetic:{task.name}/{split}?seed={seed}",
        sha256=digest,
        rows=len(rows),
        partial=False,
    )
    return Table(rows=rows, file=file)


def _locate(task: Task, split: Split, data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise MissingFileError(
            f"The data directory '{data_dir}' does not exist.", fix="Check --data_dir."
        )
    prepared = [data_dir / f"{split}{ending}" for ending in (".parquet", ".jsonl", ".csv")]
    raw = [data_dir / task.source.files[split]] if split in task.source.files else []
    for path in (*raw, *prepared):
        if path.is_file():
            return path
    looked = ", ".join(str(path.relative_to(data_dir)) for path in (*raw, *prepared))
    raise MissingFileError(
        f"'{data_dir}' has no {split} file for task '{task.name}'.",
        fix=f"Looked for: {looked}.",
    )


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number from 1, record), header not counted."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        yield from enumerate(pyarrow.parquet.read_table(path).to_pylist(), start=1)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            if path.suffix == ".jsonl":
                for number, line in enumerate(stream, start=1):
                    if line.strip():
                        yield number, json.loads(line)
            else:
                # newline="" lets csv keep the line breaks inside quoted fields
                yield from enumerate(csv.DictReader(stream, strict=True), start=1)
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not UTF-8 (byte {error.start}).", fix="Convert it to UTF-8."
        ) from error
    except (csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"'{path}' cannot be read: {error}.") from error
