"""Splits that stand in a folder as ``<split>.parquet``, with or without our manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import DataError
from ..files import sha256_file
from ..tasks import RawFile, Split, Task
from .forms import finish
from .reading import DataFile, Reading, Records
from .sources.columns import value_of
from .sources.records import records

MANIFEST: Final = "manifest.json"
#: What our manifest says that it is, so that a folder of another kind is not taken for one.
KIND: Final = "fin-qlora splits"

_ENDINGS = (".parquet", ".jsonl", ".csv")


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """A file with ``text`` and ``label``; ``manifest`` is None where we did not write it."""

    path: Path
    manifest: dict[str, Any] | None = None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest that ``data prepare`` wrote into a folder, or None."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"'{path}' is not JSON: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        return None
    return manifest


def find_prepared(folder: Path, split: Split) -> PreparedSplit | None:
    """Return the file of a split in a folder, or None."""
    manifest = read_manifest(folder)
    if manifest is not None:
        return PreparedSplit(path=folder / f"{split}.parquet", manifest=manifest)
    for ending in _ENDINGS:
        if (folder / f"{split}{ending}").is_file():
            return PreparedSplit(path=folder / f"{split}{ending}")
    return None


def read_prepared(prepared: PreparedSplit, task: Task, split: Split) -> Reading:
    """Read the rows of a prepared split with all their columns.

    Raises DataError when the folder was prepared for another task, or the file was changed since.
    """
    path, manifest = prepared.path, prepared.manifest
    digest = ""
    if manifest is not None:
        if manifest["task"] != task.name:
            raise DataError(
                f"'{path.parent}' was prepared for task '{manifest['task']}', not '{task.name}'.",
                fix="Give the folder that was prepared for this task.",
            )
        if split not in manifest["splits"]:
            raise DataError(
                f"'{path.parent}' was prepared without a {split} split.",
                fix=f"It has {', '.join(manifest['splits'])}.",
            )
        expected = manifest["splits"][split]["sha256"]
        digest = sha256_file(path) if path.is_file() else "missing"
        if digest != expected:
            raise DataError(
                f"'{path}' is not the file that was prepared: its digest is {digest[:12]}…, "
                f"the manifest says {expected[:12]}….",
                fix="Prepare the folder again.",
            )
    file = Records(file=RawFile(path=path.name), position=0, path=path, items=records(path))
    reading = Reading()
    finish(_rows(file, task), task, reading, as_it_stands=manifest is not None)
    if manifest is not None:
        entry = manifest["splits"][split]
        for name in ("dropped", "changed"):
            getattr(reading, name).update(entry[name])  # what was done when it was prepared
        reading.notes += entry["notes"]
    reading.files.append(
        DataFile(
            path=path.name,
            sha256=digest or sha256_file(path),
            rows=file.count,
            partial=_partial(manifest, split, task, file.count),
        )
    )
    return reading


def published_rows(task: Task, split: Split) -> int | None:
    """Return how many rows of a split were published, where the task says."""
    for form in task.source.forms:
        if form.part == split and not form.reference:
            return form.files[0].records
    return None


def _partial(manifest: dict[str, Any] | None, split: Split, task: Task, count: int) -> bool:
    if manifest is not None:
        return bool(manifest["splits"][split]["partial"])
    published = published_rows(task, split)
    return published is not None and count < published


def _rows(file: Records, task: Task) -> Sequence[tuple[str, dict[str, str]]]:
    needed = [name for name in ("text", "label", *task.fields) if name != "options"]
    found = []
    for number, record in file:
        place = file.place(number)
        row = {name: value_of(record, name, place=place, task=task) for name in needed}
        others = {key: _as_text(value) for key, value in record.items()}
        found.append((place, others | row))
    return found


def _as_text(value: Any) -> str:
    """Return a cell as text; a list or an object, such as a row's facts, as JSON."""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)
