"""FiQA: sentences with a score from -1 to 1 for each company that they speak of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import NO_LABEL, Reading, Records, Row
from .columns import Placed, value_of

_SEVERAL = "another entry of the same sentence, made one"
_OPPOSITE = "sentence with opposite scores"


def class_of(score: float, threshold: float) -> str:
    """Return the class of a score: below -threshold negative, from threshold on positive."""
    if score < -threshold:
        return "negative"
    return "positive" if score >= threshold and score > 0 else "neutral"


def scored_entries(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make rows of the challenge's files: an object of sentences, each with its entries.

    Setting ``unit``: ``target`` gives a row for each entry; ``sentence`` one for each sentence
    with the mean of its scores, without the sentences whose scores have opposite signs.
    """
    kinds: tuple[str, ...] = form.settings["kinds"]
    for file in files:
        entries = 0
        for number, record in file:
            place = file.place(number)
            sentence = value_of(record, "sentence", place=place, task=task)
            found = [_entry(entry, place=place) for entry in record.get("info", [])]
            entries += len(found)
            scored = [(target, score) for target, score in found if score is not None]
            if len(scored) < len(found):
                reading.dropped[NO_LABEL] += len(found) - len(scored)
            base = {"text": sentence, "kind": kinds[file.position]}
            yield from (
                (place, row)
                for row in _rows(base, scored, unit=form.settings["unit"], task=task, into=reading)
            )
        file.count = entries  # the publisher counts entries


def scored_records(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make rows of a table with one entry a record, as copies on a hub have it."""
    sentences: dict[str, tuple[str, Row, list[tuple[str, float]]]] = {}
    for file in files:
        for number, record in file:
            place = file.place(number)
            text, target, kind = (
                value_of(record, form.columns[name], place=place, task=task)
                for name in ("text", "target", "kind")
            )
            score = _score(value_of(record, form.columns["score"], place=place, task=task), place)
            base = {"text": text, "kind": "tweet" if kind == "post" else "news"}
            sentences.setdefault(text, (place, base, []))[2].append((target, score))
    unit = "target" if "target" in task.fields else "sentence"
    for place, base, scored in sentences.values():
        yield from ((place, row) for row in _rows(base, scored, unit=unit, task=task, into=reading))


def _rows(
    base: Row, scored: Sequence[tuple[str, float]], *, unit: str, task: Task, into: Reading
) -> Iterator[Row]:
    threshold = task.option("threshold")
    for _, score in scored:
        into.seen["score below 0" if score < 0 else "score above 0" if score else "score 0"] += 1
    if unit == "target":
        for target, score in scored:
            yield base | {
                "target": target,
                "score": f"{score:g}",
                "label": class_of(score, threshold),
            }
        return
    if not scored:
        return
    scores = [score for _, score in scored]
    if min(scores) < 0 < max(scores):
        into.seen[_OPPOSITE] += 1
        into.dropped[f"entry of a {_OPPOSITE}"] += len(scores)
        return
    if len(scores) > 1:
        into.dropped[_SEVERAL] += len(scores) - 1
    mean = sum(scores) / len(scores)
    yield base | {"score": f"{mean:g}", "label": class_of(mean, threshold)}


def _entry(entry: dict[str, Any], *, place: str) -> tuple[str, float | None]:
    text = entry.get("sentiment_score")
    return str(entry.get("target", "")), None if text is None else _score(str(text), place)


def _score(text: str, place: str) -> float:
    try:
        score = Decimal(text)
    except InvalidOperation:
        raise DataError(f"{place} has the score {text!r}, which is no number.") from None
    if not -1 <= score <= 1:
        raise DataError(f"{place} has the score {text}, which is not from -1 to 1.")
    return float(score)
