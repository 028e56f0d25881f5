"""An index of all rows on disk, so that a build needs no more memory for more filings."""

from __future__ import annotations

import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from .settings import SplitName

_TABLES = """
CREATE TABLE rows (
    id TEXT PRIMARY KEY, part TEXT NOT NULL, start INTEGER NOT NULL, filing TEXT NOT NULL,
    task TEXT NOT NULL, concept TEXT NOT NULL, key TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE keys (filing TEXT NOT NULL, key TEXT NOT NULL);
CREATE TABLE splits (filing TEXT PRIMARY KEY, split TEXT NOT NULL) WITHOUT ROWID;
"""
_OPEN_AT_ONCE = 32


class RowIndex:
    """Knows where each row stands in the parts, and gives them back by split, sorted by id."""

    def __init__(self, parts: Path, file: Path) -> None:
        self._parts = parts
        file.unlink(missing_ok=True)
        self._database = sqlite3.connect(file)
        self._database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLES}")
        self._open: OrderedDict[str, BinaryIO] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in self._open.values():
            stream.close()
        self._database.close()

    def add(self, part: str, rows: Mapping[int, tuple[str, Mapping[str, Any]]]) -> int:
        """Add the rows of a part, ``where it starts -> (filing, row)``; return how many are new."""
        before = self._count("rows")
        self._database.executemany(
            "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row["id"],
                    part,
                    start,
                    filing,
                    row["task"],
                    "" if "formula" in row["meta"] else row["meta"]["concept"],
                    row["meta"]["key_digest"],
                )
                for start, (filing, row) in rows.items()
            ],
        )
        return self._count("rows") - before

    def add_keys(self, filing: str, keys: list[str]) -> None:
        """Remember which facts a filing reports."""
        self._database.executemany(
            "INSERT INTO keys VALUES (?, ?)", [(filing, key) for key in keys]
        )

    def set_splits(self, splits: Mapping[str, SplitName]) -> None:
        """Say which split each filing belongs to; rows of other filings are never given back."""
        self._database.executemany("INSERT INTO splits VALUES (?, ?)", sorted(splits.items()))

    def count(self, split: SplitName) -> int:
        """Return the rows of a split."""
        found = self._database.execute(
            "SELECT COUNT(*) FROM rows JOIN splits USING (filing) WHERE split = ?", (split,)
        )
        return int(found.fetchone()[0])

    def remove_known_to_train(self) -> int:
        """Take out of the other splits the rows whose fact a training filing reports too."""
        self._database.execute("CREATE INDEX key_of ON keys (key)")
        return self._database.execute(
            "DELETE FROM rows WHERE filing IN (SELECT filing FROM splits WHERE split != 'train') "
            "AND key IN (SELECT key FROM keys JOIN splits USING (filing) WHERE split = 'train')"
        ).rowcount

    def rows(self, split: SplitName) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield (task, concept, row) of a split in order of their ids."""
        found = self._database.execute(
            "SELECT part, start, task, concept FROM rows JOIN splits USING (filing) "
            "WHERE split = ? ORDER BY id",
            (split,),
        )
        for part, start, task, concept in found:
            yield task, concept, self._read(part, start)

    def _read(self, part: str, start: int) -> dict[str, Any]:
        stream = self._open.pop(part, None) or (self._parts / part).open("rb")
        self._open[part] = stream
        if len(self._open) > _OPEN_AT_ONCE:
            self._open.popitem(last=False)[1].close()
        stream.seek(start)
        row: dict[str, Any] = json.loads(stream.readline())[1]
        return row

    def _count(self, table: str) -> int:
        return int(self._database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
