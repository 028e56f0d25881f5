"""fin_qlora.json: what an adapter is asked and how, on which base, and what it must answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_json
from .schema import check, read_json_object

RECORD = "fin_qlora.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``fin_qlora.json`` into an adapter folder. Raises DataError when a field is wrong."""
    path = folder / RECORD
    check(dict(record), schema="fin_qlora", place=str(path))
    tasks_by_name(record, place=str(path))
    write_json(path, dict(record))


def read_record(folder: Path) -> dict[str, Any]:
    """Read ``fin_qlora.json`` of an adapter folder. Raises MissingFileError or DataError."""
    record = read_json_object(
        folder / RECORD,
        schema="fin_qlora",
        fix="Adapters made by fin-qlora have it; retrain, or load this one with plain PEFT.",
    )
    tasks_by_name(record, place=str(folder / RECORD))
    return record


def tasks_by_name(values: Mapping[str, Any], *, place: str) -> dict[str, dict[str, Any]]:
    """Return the tasks of a record or a manifest by their names, in their order.

    Raises DataError when a name occurs twice.
    """
    found: dict[str, dict[str, Any]] = {}
    for task in values["tasks"]:
        if task["task"] in found:
            raise DataError(
                f"'{place}' has the task '{task['task']}' twice.",
                fix="It was damaged, edited by hand or written by another version of fin-qlora.",
            )
        found[task["task"]] = task
    return found
