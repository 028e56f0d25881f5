"""Cutting a file into records, whatever its form; nothing is guessed about the encoding."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ...errors import DataError
from ...tasks.source import Format
from ..reading import Record

_BY_ENDING: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".txt": "sentence@label",
    ".conll": "conll",
}
csv.field_size_limit(min(sys.maxsize, 2**31 - 1))


def records(path: Path, file_format: Format = "") -> Iterator[tuple[int, Record]]:
    """Yield (number from 1, record) of a file; a header line is not counted.

    Raises DataError, with the file and the row, for text in another encoding or form.
    """
    chosen = file_format or _BY_ENDING.get(path.suffix)
    if not chosen:
        raise DataError(
            f"'{path}' has an ending that tells no form.", fix=f"Known: {', '.join(_BY_ENDING)}."
        )
    if chosen == "parquet":
        yield from enumerate(_parquet(path), start=1)
        return
    if chosen == "sentence@label":
        yield from _sentences(path)
        return
    try:
        # newline="" lets csv keep the line breaks inside quoted fields
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _READERS[chosen](stream, path)
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not UTF-8 (byte {error.start}).", fix="Convert it to UTF-8."
        ) from error
    except (csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"'{path}' cannot be read: {error}.") from error


def _table(stream: TextIO, path: Path, *, delimiter: str) -> Iterator[tuple[int, Record]]:
    reader = csv.DictReader(stream, strict=True, delimiter=delimiter)
    for number, record in enumerate(reader, start=1):
        if None in record:
            raise DataError(
                f"{path.name}, row {number} has more cells than the header has names.",
                fix="Put texts with the separator in quotes.",
            )
        yield number, record


def _csv(stream: TextIO, path: Path) -> Iterator[tuple[int, Record]]:
    return _table(stream, path, delimiter=",")


def _tsv(stream: TextIO, path: Path) -> Iterator[tuple[int, Record]]:
    return _table(stream, path, delimiter="\t")


def _jsonl(stream: TextIO, path: Path) -> Iterator[tuple[int, Record]]:
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{path.name}, row {number} is not JSON: {error.msg} at character {error.colno}.",
                fix="Correct the row or take it out.",
            ) from error
        yield number, _mapping(value, path, number)


def _json(stream: TextIO, path: Path) -> Iterator[tuple[int, Record]]:
    """A list of records, or records by id: the id is then put under ``id``."""
    content = json.load(stream)
    if isinstance(content, dict):
        for number, (key, value) in enumerate(content.items(), start=1):
            yield number, {"id": key, **_mapping(value, path, number)}
    elif isinstance(content, list):
        for number, value in enumerate(content, start=1):
            yield number, _mapping(value, path, number)
    else:
        raise DataError(f"'{path}' holds neither a list nor an object.")


def _mapping(value: object, path: Path, number: int) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"{path.name}, row {number} is not an object with named values.")
    return value


def _conll(stream: TextIO, path: Path) -> Iterator[tuple[int, Record]]:
    """Sentences of CoNLL-2003 columns: token first, tag last, an empty line between sentences."""
    document, number = 0, 0
    tokens: list[str] = []
    tags: list[str] = []
    for position, line in enumerate([*stream, "\n"], start=1):
        cells = line.split()
        if cells and cells[0] != "-DOCSTART-":
            if len(cells) < 2:
                raise DataError(f"{path.name}, line {position} has a token but no tag.")
            tokens.append(cells[0])
            tags.append(cells[-1])
            continue
        if tokens:
            number += 1
            yield number, {"document": str(document), "tokens": tokens, "tags": tags}
            tokens, tags = [], []
        document += bool(cells)


def _sentences(path: Path) -> Iterator[tuple[int, Record]]:
    """Lines ``sentence@label`` in ISO-8859-1; the label follows the last ``@``."""
    with path.open(encoding="iso-8859-1", newline="") as stream:
        lines = stream.read().split("\n")  # other line-ending characters belong to the text
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        text, at, label = line.rstrip("\r").rpartition("@")
        if not at:
            raise DataError(f"{path.name}, row {number} has no '@' before a label.")
        yield number, {"text": text, "label": label}


def _parquet(path: Path) -> list[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        found: list[Record] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"'{path}' is not parquet: {error}.") from error
    return found


_READERS = {"csv": _csv, "tsv": _tsv, "jsonl": _jsonl, "json": _json, "conll": _conll}
