"""Rows that are wrapped in a prompt: FinLoRA's files, and FinGPT's instruction sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Record, Records, Row
from .columns import Placed, value_of

#: Below this many rows the shares of the classes say nothing.
_ENOUGH = 30
_REMNANT = re.compile(r" xmlns:us- ?(?=>)")


def pattern(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Take the text and the prompt's fields out of prompts; the answer is the target.

    Settings: ``pattern`` has a named group for each field; ``once_per`` names the fields of a
    question that is asked in several wordings; ``swapped`` and ``shares`` describe a file in
    which two classes change places; ``cut_remnants`` takes broken namespaces out of excerpts.
    """
    settings = form.settings
    expression = re.compile(settings["pattern"], re.DOTALL)
    once_per: tuple[str, ...] = settings.get("once_per", ())
    asked: set[tuple[str, ...]] = set()
    found: list[tuple[str, Row]] = []
    for place, record in _records(files):
        context, target = _prompt(record, place=place, task=task)
        match = expression.fullmatch(context)
        if match is None:
            raise DataError(
                f"{place} is not a prompt of the form that task '{task.name}' knows: "
                f"{context[:80]!r}.",
                fix="Check that the file belongs to the task.",
            )
        row = {name: value or "" for name, value in match.groupdict().items() if name != "asked"}
        row |= {
            name: value_of(record, column, place=place, task=task)
            for name, column in form.columns.items()
            if name not in ("text", "label")
        }
        row["label"] = target
        if settings.get("cut_remnants"):
            row["text"], cut = _REMNANT.subn("", row["text"])
            reading.changed["namespace remnants cut"] += bool(cut)
        if once_per:
            question = (*(row[name] for name in once_per), target)
            if question in asked:
                reading.dropped["another wording of the same question"] += 1
                continue
            asked.add(question)
        found.append((place, row))
    if "swapped" in settings:
        _unswap([row for _, row in found], settings["swapped"], settings["shares"], reading)
    yield from found


def _records(files: Sequence[Records]) -> Iterator[tuple[str, Record]]:
    for file in files:
        for number, record in file:
            yield file.place(number), record


def _prompt(record: Record, *, place: str, task: Task) -> tuple[str, str]:
    if "context" in record:
        target = value_of(record, "target", place=place, task=task)
        return str(record["context"]), target
    asked, text, target = (
        value_of(record, column, place=place, task=task)
        for column in ("instruction", "input", "output")
    )
    return f"Instruction: {asked}\nInput: {text}\nAnswer: ", target


def _unswap(
    rows: Sequence[Row], pair: tuple[str, str], shares: Mapping[str, float], reading: Reading
) -> None:
    """Give two labels their right names where a file has them swapped.

    The published shares of the classes tell which reading a file has. A file of few rows is taken
    to have the defect of its form, as every published copy has.
    """
    counts = Counter(row["label"] for row in rows)
    other = {pair[0]: pair[1], pair[1]: pair[0]}

    def distance(names: Mapping[str, str]) -> float:
        return sum(
            abs(counts[names.get(label, label)] / len(rows) - share)
            for label, share in shares.items()
        )

    by_shares = len(rows) >= _ENOUGH
    if not rows or (by_shares and distance({}) <= distance(other)):
        reading.notes.append(f"'{pair[0]}' and '{pair[1]}' are not swapped in this copy.")
        return
    swapped = 0
    for row in rows:
        if row["label"] in other:
            row["label"] = other[row["label"]]
            swapped += 1
    reading.changed[f"'{pair[0]}' and '{pair[1]}' put right"] += swapped
    why = "the shares of its classes show it" if by_shares else "every copy of this form has it so"
    reading.notes.append(
        f"The file has the classes '{pair[0]}' and '{pair[1]}' swapped ({why}); "
        f"{swapped} labels were put right."
    )
