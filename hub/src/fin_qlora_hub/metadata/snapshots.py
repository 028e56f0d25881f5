"""The rows of all tables as files, in a form that any database can be filled from."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Connection, DateTime, MetaData, Table, func, insert, select, text

from fin_qlora_hub.errors import UnusableDataError

_ROWS_AT_ONCE = 1000
_NOT_KEPT = "alembic_version"


@dataclass(frozen=True)
class TableFile:
    """How many rows a file holds, and the SHA-256 of the file."""

    rows: int
    sha256: str


def write_rows(connection: Connection, folder: Path) -> dict[str, TableFile]:
    """Write every table to a file of a folder; the connection must have one consistent view."""
    return {
        table.name: _write(connection, table, path_of(folder, table.name))
        for table in _tables(connection)
    }


def load_rows(connection: Connection, folder: Path, files: Mapping[str, TableFile]) -> None:
    """Fill empty tables from files; what the making of the tables put there is replaced."""
    tables = _tables(connection)
    if {table.name for table in tables} != set(files):
        raise UnusableDataError(f"{folder} holds other tables than its form has.")
    for table in reversed(tables):
        connection.execute(table.delete())
    for table in tables:
        rows = read_rows(folder, table.name)
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True
        moments = [c.name for c in table.columns if isinstance(c.type, DateTime)]
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            for row in part:
                for name in moments:
                    row[name] = row[name] and datetime.fromisoformat(row[name])
            connection.execute(insert(table), part)
        if connection.dialect.name == "postgresql":
            _count_on(connection, table)


def check_file(folder: Path, table: str, expected: TableFile) -> None:
    """Raise UnusableDataError unless a file is as it was written."""
    digest = hashlib.sha256()
    try:
        with path_of(folder, table).open("rb") as handle:
            while chunk := handle.read(1024 * 1024):
                digest.update(chunk)
    except FileNotFoundError:
        raise UnusableDataError(f"{path_of(folder, table)} is missing.") from None
    if digest.hexdigest() != expected.sha256:
        raise UnusableDataError(f"{path_of(folder, table)} has changed since it was written.")


def read_rows(folder: Path, table: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; moments are text, in ISO 8601 and UTC."""
    with gzip.open(path_of(folder, table), "rt", encoding="utf-8") as handle:
        names = json.loads(handle.readline())
        for line in handle:
            yield dict(zip(names, json.loads(line), strict=True))


def path_of(folder: Path, table: str) -> Path:
    """Return the file of a table."""
    return folder / f"{table}.jsonl.gz"


def _tables(connection: Connection) -> list[Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != _NOT_KEPT]


def _write(connection: Connection, table: Table, path: Path) -> TableFile:
    count = 0
    query = select(table).execution_options(yield_per=_ROWS_AT_ONCE)
    with (
        gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as handle,
        connection.execute(query) as rows,
    ):
        handle.write(json.dumps([column.name for column in table.columns]) + "\n")
        for count, row in enumerate(rows, start=1):  # noqa: B007
            handle.write(json.dumps([_plain(value) for value in row]) + "\n")
    return TableFile(count, hashlib.sha256(path.read_bytes()).hexdigest())


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _count_on(connection: Connection, table: Table) -> None:
    """Let PostgreSQL give out numbers after those that are there."""
    for column in table.primary_key.columns:
        names = {"table": table.name, "column": column.name}
        sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), names)
        highest = connection.scalar(select(func.max(column)))
        if sequence is not None and highest is not None:
            values = {"sequence": sequence, "highest": highest}
            connection.execute(text("SELECT setval(:sequence, :highest)"), values)
