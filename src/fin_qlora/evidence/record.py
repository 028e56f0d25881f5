"""fin_qlora.json: how the adapter is asked, on which base, and what it must answer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_json
from .schema import check, read_json_object

RECORD = "fin_qlora.json"


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``fin_qlora.json`` into an adapter folder. Raises DataError when a field is wrong."""
    path = folder / RECORD
    check(dict(record), schema="fin_qlora", place=str(path))
    write_json(path, dict(record))


def read_record(folder: Path) -> dict[str, Any]:
    """Read ``fin_qlora.json`` of an adapter folder. Raises MissingFileError or DataError."""
    return read_json_object(
        folder / RECORD,
        schema="fin_qlora",
        fix="Adapters made by fin-qlora have it; retrain, or load this one with plain PEFT.",
    )
