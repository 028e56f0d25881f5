"""``fin-qlora predict``: labels for texts."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from ..errors import DataError, EmptyDatasetError, MissingFileError, UsageError
from .output import HUMAN, OutputOption

Input = str | Mapping[str, Any]

#: Rows scored together; the first ones are printed when these are done.
BATCH = 32


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("predict", short_help="Label texts.")(predict)


def predict(
    adapter: Annotated[
        str, typer.Argument(metavar="ADAPTER", help="A folder, or ORG/NAME on your hub.")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; stdin if left out.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=".txt (one a line), .jsonl, or .csv with the prompt's columns."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    quantization: Annotated[
        Literal["auto", "4bit", "8bit", "none"], typer.Option(help="How to load the base.")
    ] = "auto",
    output: OutputOption = HUMAN,
) -> None:
    """Print the label of every text and how probable it is; JSON is one object a line."""
    inputs = _inputs(texts or [], file)
    first = next(inputs, None)
    if first is None:
        raise EmptyDatasetError("There is no text to predict.", fix="Give one, or check the file.")
    from ..inference import load_adapter

    output.note(f"Loading {adapter}")
    loaded = load_adapter(adapter, revision=revision, quantization=quantization)
    width = max(map(len, loaded.contract.labels))
    if output.format == "human":
        output.line({}, human=f"{'LABEL':<{width}}  SCORE  TEXT", quiet="")
    rows = itertools.chain([first], inputs)
    while batch := list(itertools.islice(rows, BATCH)):
        for row, found in zip(batch, loaded.predict(batch), strict=True):
            output.line(
                {"input": row, "label": found.label, "score": found.score, "scores": found.scores},
                human=f"{found.label:<{width}}  {found.score:.3f}  {_one_line(row)}",
                quiet=found.label,
            )


def _inputs(texts: list[str], file: Path | None) -> Iterator[Input]:
    """Return the inputs in order, from the one place that the user named."""
    if texts and file:
        raise UsageError("Texts and --file are both given.", fix="Leave out one of them.")
    if texts:
        return iter(texts)
    if file is None:
        if sys.stdin.isatty():
            raise UsageError(
                "There is no text to predict.", fix="Give TEXT, --file, or pipe lines into it."
            )
        return _lines(sys.stdin)
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
    for number, line in enumerate(stream, start=1):
        if line.strip():
            row = json.loads(line)
            if not isinstance(row, str | dict):
                raise ValueError(f"line {number} is neither an object nor a text")
            yield row


def _records(stream: TextIO) -> Iterator[Input]:
    reader = csv.DictReader(stream, strict=True)
    if "text" not in (reader.fieldnames or ()):
        raise ValueError(f"it has no column 'text' but {list(reader.fieldnames or ())}")
    yield from reader


def _one_line(row: Input) -> str:
    if isinstance(row, str):
        return " ".join(row.split())
    text = " ".join(str(row.get("text", "")).split())
    rest = [f"{name}={value}" for name, value in row.items() if name not in ("text", "label")]
    return f"{text}  [{', '.join(rest)}]" if rest else text
