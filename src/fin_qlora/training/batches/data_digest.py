"""What a data set is recognised by: on every process of a run, and when a run is continued."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow
import pyarrow.compute

from ...errors import DataError

#: Columns that decide what is trained, in the order in which they are read.
_TRAINED = ("input_ids", "labels", "task")

_ROWS_AT_ONCE = 10_000


def data_digest(dataset: Any) -> str:
    """Return the sha256 of the rows that are trained on, in their order, as 64 hex digits.

    Two data sets have the same digest when ``input_ids``, ``labels`` and ``task`` are the same row
    by row, however they are stored. A stream, which can be read once only, has the digest "".

    Args:
        dataset: tokenised rows; what else is in them does not count.
    """
    if not hasattr(dataset, "__len__"):
        return ""
    digest = hashlib.sha256()
    for table in _tables(dataset):
        for name in _TRAINED:
            if name in table.column_names:
                for part in _flat(table[name]):
                    digest.update(f"{name} {part.nbytes}\\n".encode())
                    digest.update(part)
    return digest.hexdigest()


def require_same_data(dataset: Any) -> None:
    """Raise DataError on every process when they do not all train on the same rows.

    Each process takes its share of one data set; shares of different ones would overlap in part
    and miss rows, and nothing would show it.
    """
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    if state.num_processes == 1:
        return
    found: list[str] = gather_object([data_digest(dataset)])
    others = [rank for rank, digest in enumerate(found) if digest != found[0]]
    if others:
        raise DataError(
            f"The processes do not train on the same data: the rows of process {others[0]} "
            f"({found[others[0]][:12]}) are not those of process 0 ({found[0][:12]}).",
            fix="Give every process the same files in the same order, and shuffle with one seed.",
        )


def _tables(dataset: Any) -> Any:
    columns = getattr(dataset, "column_names", None)
    if columns is None:
        for first in range(0, len(dataset), _ROWS_AT_ONCE):
            rows = [dataset[i] for i in range(first, min(first + _ROWS_AT_ONCE, len(dataset)))]
            yield pyarrow.table(
                {name: [_plain(row[name]) for row in rows] for name in _TRAINED if name in rows[0]}
            )
        return
    kept = dataset.select_columns([name for name in _TRAINED if name in columns])
    yield from kept.with_format("arrow").iter(_ROWS_AT_ONCE)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _flat(column: pyarrow.ChunkedArray) -> list[memoryview]:
    """Return the lengths and the values of a column in one form, whatever its types are."""
    array = column.combine_chunks()
    if pyarrow.types.is_list(array.type) or pyarrow.types.is_large_list(array.type):
        lengths = pyarrow.compute.list_value_length(array).cast(pyarrow.int64())
        return [_bytes(lengths), _bytes(array.flatten().cast(pyarrow.int64()))]
    return [memoryview("\\0".join(map(str, array.to_pylist())).encode())]


def _bytes(array: pyarrow.Array) -> memoryview:
    return memoryview(array.to_numpy(zero_copy_only=False)).cast("B")
