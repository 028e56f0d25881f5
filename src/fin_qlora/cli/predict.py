"""``fin-qlora predict``: labels or answers for texts."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from ..errors import DataError, EmptyDatasetError, MissingFileError, UsageError
from .output import HUMAN, OutputOption

if TYPE_CHECKING:
    from ..inference import Adapter

Input = str | Mapping[str, Any]

#: Width of the column of free answers; longer ones push the text aside.
_ANSWER = 24

#: Rows scored together; the first ones are printed when these are done.
BATCH = 32


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("predict", short_help="Label texts, answer questions.")(predict)


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
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Which task; else a row's own field 'task', or the only one."
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    quantization: Annotated[
        Literal["auto", "4bit", "8bit", "none"], typer.Option(help="How to load the base.")
    ] = "auto",
    output: OutputOption = HUMAN,
) -> None:
    """Print the label of every text and how probable it is, or the answer; JSON is one a line."""
    inputs = _inputs(texts or [], file)
    first = next(inputs, None)
    if first is None:
        raise EmptyDatasetError("There is no text to predict.", fix="Give one, or check the file.")
    from ..inference import load_adapter

    output.note(f"Loading {adapter}")
    loaded = load_adapter(adapter, revision=revision, quantization=quantization)
    width = _width(loaded)
    free = any(contract.grammar != "label" for contract in loaded.tasks.values())
    if output.format == "human":
        output.line({}, human=f"{'ANSWER' if free else 'LABEL':<{width}}  SCORE  TEXT", quiet="")
    rows = itertools.chain([first], inputs)
    while batch := list(itertools.islice(rows, BATCH)):
        for row, found in zip(batch, _answers(loaded, batch, task=task), strict=True):
            answer = " ".join(found["label" if "label" in found else "answer"].split())
            score = f"{found['score']:.3f}" if "score" in found else ""
            output.line(
                {"input": row, **found},
                human=f"{answer:<{width}}  {score:5}  {_one_line(row)}",
                quiet=answer,
            )


def _width(loaded: Adapter) -> int:
    """Return the width of the first column: of labels the longest, of answers some."""
    contracts = loaded.tasks.values()
    return max(max(map(len, contract.labels), default=_ANSWER) for contract in contracts)


def _answers(loaded: Adapter, batch: list[Input], *, task: str | None) -> list[dict[str, Any]]:
    """Return what the adapter says of each row: labels are scored, free answers written."""
    names = [loaded.task_of(row, task=task) for row in batch]
    free = [loaded.tasks[name].grammar != "label" for name in names]
    labelled = [row for row, is_free in zip(batch, free, strict=True) if not is_free]
    asked = [row for row, is_free in zip(batch, free, strict=True) if is_free]
    predicted = iter(loaded.predict(labelled, task=task) if labelled else ())
    written = iter(loaded.generate(asked, task=task) if asked else ())
    found: list[dict[str, Any]] = []
    for name, is_free in zip(names, free, strict=True):
        of_task = {"task": name} if len(loaded.tasks) > 1 else {}
        if is_free:
            one = next(written)
            found.append({**of_task, "answer": one.text, "finished": one.finished})
        else:
            each = next(predicted)
            scores = {"label": each.label, "score": each.score, "scores": each.scores}
            found.append({**of_task, **scores})
    return found


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
    rest = [
        f"{name}={value}" for name, value in row.items() if name not in ("text", "label", "task")
    ]
    return f"{text}  [{', '.join(rest)}]" if rest else text
