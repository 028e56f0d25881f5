"""The rows that ``fin-qlora predict`` is asked about: from arguments, a file or a pipe."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ..errors import DataError, MissingFileError, UsageError
from .piped import arriving

Input = str | Mapping[str, Any]

#: Rows answered together.
BATCH = 32


def windows(texts: list[str], file: Path | None, *, jsonl: bool) -> Iterator[list[Input]]:
    """Yield the inputs in order, some at a time, from the one place that the user named."""
    if texts and file:
        raise UsageError("Texts and --file are both given.", fix="Leave out one of them.")
    if jsonl and (texts or file):
        raise UsageError("--jsonl is for lines of stdin.", fix="Leave it out.")
    if texts or file:
        return _cut(iter(texts) if file is None else _rows_of(file))
    if sys.stdin.isatty():
        raise UsageError(
            "There is no text to predict.", fix="Give TEXT, --file, or pipe lines into it."
        )
    return _piped(jsonl=jsonl)


def _cut(rows: Iterator[Input]) -> Iterator[list[Input]]:
    while window := list(itertools.islice(rows, BATCH)):
        yield window


def _piped(*, jsonl: bool) -> Iterator[list[Input]]:
    """Yield the lines of stdin that are there already, without waiting for more."""
    number = 0
    for lines in arriving(sys.stdin):
        rows: list[Input] = []
        for line in lines:
            number += 1
            if not line.strip():
                continue
            try:
                rows.append(_object(line, number) if jsonl else line.strip())
            except DataError:
                yield from _cut(iter(rows))  # those before it are answered all the same
                raise
        yield from _cut(iter(rows))


def _rows_of(file: Path) -> Iterator[Input]:
    if not file.is_file():
        raise MissingFileError(f"The file '{file}' does not exist.", fix="Check --file.")
    readers = {".txt": _lines, ".jsonl": _objects, ".csv": _records}
    if file.suffix not in readers:
        raise UsageError(
            f"'{file}' is none of {', '.join(readers)}.", fix="Convert it, or pipe lines in."
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{file}' is not UTF-8 (byte {error.start}).", fix="Convert it to UTF-8."
        ) from error
    try:
        return iter(list(readers[file.suffix](io.StringIO(text, newline=""))))
    except (ValueError, csv.Error) as error:
        raise DataError(f"'{file}' cannot be read: {error}.", fix="Correct the file.") from error


def _lines(stream: TextIO) -> Iterator[Input]:
    return (line.strip() for line in stream if line.strip())


def _objects(stream: TextIO) -> Iterator[Input]:
    return (_object(line, n) for n, line in enumerate(stream, start=1) if line.strip())


def _object(line: str, number: int) -> Input:
    """Return the row or the text of a line. Raises DataError when it is neither."""
    try:
        row: Input = json.loads(line)
    except ValueError as error:
        raise DataError(f"Line {number} is not JSON: {error}.", fix="Correct it.") from error
    if not isinstance(row, str | dict):
        raise DataError(f"Line {number} is neither an object nor a text.", fix="Give one a line.")
    return row


def _records(stream: TextIO) -> Iterator[Input]:
    reader = csv.DictReader(stream, strict=True)
    if "text" not in (reader.fieldnames or ()):
        raise ValueError(f"it has no column 'text' but {list(reader.fieldnames or ())}")
    for row in reader:
        if None in row:  # where DictReader puts what has no column; the text would be cut short
            raise ValueError(
                f"line {reader.line_num} has more values than there are columns; a text with a "
                "comma needs quotes around it"
            )
        yield row
