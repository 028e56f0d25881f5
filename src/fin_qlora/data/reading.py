"""What reading one raw form gives: rows, and an account of every record that is not among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..tasks import RawFile

Row = dict[str, str]
Record = dict[str, Any]

#: Reasons under which a row may be left out; the manual explains each.
EMPTY: Final = "empty text"
NO_LABEL: Final = "no label was published"
NO_ANSWER: Final = "answer is missing"


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file that rows were read from, and whether it is all that was published.

    ``rows`` counts records as they were published; ``partial`` means that there are fewer.
    """

    path: str
    sha256: str
    rows: int
    partial: bool
    published: int | None = None


@dataclass
class Records:
    """The records of one file, numbered from 1.

    ``position`` is the file's place in its form, ``count`` the records read so far in the unit in
    which the publisher counts them.
    """

    file: RawFile
    position: int
    path: Path
    items: Iterator[tuple[int, Record]]
    count: int = 0

    def __iter__(self) -> Iterator[tuple[int, Record]]:
        for number, record in self.items:
            self.count += 1
            yield number, record

    def place(self, number: int) -> str:
        """Return how a message names a record."""
        return f"{self.path.name}, row {number}"


@dataclass
class Reading:
    """The rows of one form, with what was left out, changed, or seen and left as it is.

    Args:
        dropped: reason -> records or rows that are not among ``rows``.
        changed: rule -> rows that it changed.
        seen: oddity -> rows that have it still.
        notes: sentences for a person, such as "two classes were swapped".
    """

    rows: list[Row] = field(default_factory=list)
    files: list[DataFile] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
