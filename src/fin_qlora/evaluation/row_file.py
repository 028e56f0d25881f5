"""Files of per-row results: parquet with fixed columns, and in its metadata what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingFileError
from ..files import write_bytes

#: Where the metadata of the file says what the rows are of, as JSON.
KEY = b"fin_qlora"


def write_row_file(
    path: Path, rows: Sequence[Mapping[str, Any]], *, about: Mapping[str, Any]
) -> None:
    """Write rows as parquet, whole or not at all.

    Args:
        about: task, labels and what else says which rows they are, as JSON values.
    """
    import pyarrow
    import pyarrow.parquet

    labels = about["labels"]
    table = pyarrow.Table.from_pylist(list(rows), schema=_schema(rows, labels))
    table = table.replace_schema_metadata({KEY: json.dumps(about, ensure_ascii=False).encode()})
    stream = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, stream)
    write_bytes(path, stream.getvalue().to_pybytes())


def _schema(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Any:
    """Return the columns of the rows: ours have their types even where all values are missing."""
    import pyarrow

    each = pyarrow.struct([(label, pyarrow.float64()) for label in labels])
    numbers = each if labels else pyarrow.null()
    text = pyarrow.string()
    ours = {
        **dict.fromkeys(("gold", "prompt_digest", "predicted", "parsed"), text),
        **dict.fromkeys(("generated", "output", "outcome"), text),
        **dict.fromkeys(("scores", "log_likelihoods"), numbers),
        "flags": pyarrow.list_(text),
        "finished": pyarrow.bool_(),
        "seconds": pyarrow.float64(),
    }
    names = dict.fromkeys(name for row in rows for name in row)
    theirs = [name for name in names if name not in ours]
    guessed = pyarrow.Table.from_pylist([{name: row.get(name) for name in theirs} for row in rows])
    return pyarrow.schema(
        [(name, ours[name] if name in ours else guessed.schema.field(name).type) for name in names]
    )


def read_about(path: Path) -> dict[str, Any]:
    """Return what a file of rows says it is of.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is no file of per-row results of this package.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        about: dict[str, Any] = json.loads(metadata[KEY])
    except FileNotFoundError:
        raise MissingFileError(f"'{path}' does not exist.", fix="Check the path.") from None
    except (pyarrow.ArrowInvalid, OSError, KeyError, ValueError) as error:
        raise DataError(
            f"'{path}' holds no per-row results: {type(error).__name__}.",
            fix="They are written by `fin-qlora evaluate --out` and by training.",
        ) from error
    return about


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of per-row results. Raises as ``read_about`` does."""
    import pyarrow.parquet

    read_about(path)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return rows
