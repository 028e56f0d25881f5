"""Rows that stand in columns: most tables, and questions about filings without their facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Record, Records, Row

Placed = Iterator[tuple[str, Row]]


def value_of(record: Record, column: str, *, place: str, task: Task) -> str:
    """Return a cell as text. Raises DataError that names the columns there are."""
    try:
        value = record[column]
    except KeyError:
        raise DataError(
            f"{place} has no column '{column}'; its columns are {sorted(map(str, record))}.",
            fix=f"Task '{task.name}' reads it; name the columns as the task does.",
        ) from None
    return "" if value is None else str(value)


def columns(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each record: the text, the label, what the prompt reads, and named extras."""
    wanted = {name: name for name in ("text", "label", *task.fields) if name != "options"}
    wanted |= dict(form.columns)
    for file in files:
        for number, record in file:
            place = file.place(number)
            yield (
                place,
                {
                    name: value_of(record, column, place=place, task=task)
                    for name, column in wanted.items()
                },
            )


def filing_questions(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each question that names a filing and a context; every fact is asked often."""
    extract = {name: re.compile(p, re.DOTALL) for name, p in form.settings["extract"].items()}
    for file in files:
        for number, record in file:
            place = file.place(number)
            row = {
                name: value_of(record, column, place=place, task=task)
                for name, column in form.columns.items()
            }
            for name, pattern in extract.items():
                if found := pattern.search(row[name]):
                    row[name] = found[1]
            row["question"] = row["text"]
            row["fact"] = f"{row['filing']} {row['context']} {row['label']}"
            yield place, row


def bench_records(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each raw record of the XBRL bench that has the category of the task."""
    for file in files:
        for number, record in file:
            place = file.place(number)
            if value_of(record, "category2", place=place, task=task) != form.settings["category"]:
                continue
            row = {
                name: value_of(record, column, place=place, task=task)
                for name, column in form.columns.items()
            }
            row["context"] = ",".join(map(str, record.get("contextID", [])))
            row["question"] = row["text"]
            row["fact"] = f"{row['filing']} {row['context']} {row['label']}"
            yield place, row
