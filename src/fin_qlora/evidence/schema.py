"""Reading JSON files and holding them to the JSON Schemas that ship with the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError, MissingFileError
from ..files import shipped

SchemaName = Literal["manifest", "fin_qlora", "results", "demo_summary"]


def check(value: Any, *, schema: SchemaName, place: str) -> None:
    """Raise a DataError that names the first field of ``value`` that does not follow the schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    text = (shipped("schemas") / f"{schema}.schema.json").read_text(encoding="utf-8")
    found = best_match(Draft202012Validator(json.loads(text)).iter_errors(value))
    if found is None:
        return
    field = found.json_path.removeprefix("$").removeprefix(".")
    where = f"field '{field}'" if field else "the top level"
    raise DataError(
        f"'{place}' does not follow {schema}.schema.json at {where}: {found.message}.",
        fix="It was damaged, edited by hand or written by another version of fin-qlora.",
    )


def read_json_object(path: Path, *, schema: SchemaName, fix: str) -> dict[str, Any]:
    """Read a JSON file and check it.

    Raises:
        MissingFileError: there is no such file; ``fix`` says what to do.
        DataError: it is not JSON, or does not follow the schema.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError(f"'{path}' is missing.", fix=fix) from None
    except ValueError as error:
        raise DataError(f"'{path}' is not JSON: {error}.", fix="Restore the file.") from error
    check(value, schema=schema, place=str(path))
    return dict(value)
