"""Numbers in sentences that carry a tag: FiNER and FNXL, one question for each number."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Sequence
from typing import Any

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Record, Records
from .columns import Placed, value_of

_QUESTION = re.compile(
    r'best (?:us gaap )?tag for entity "(?P<entity>[^"]*)" in sentence: "(?P<text>.*?)(?:\?"|"\?)'
    r"(?=\s*(?:\n|$))",
    re.DOTALL,
)
_OPTIONS = re.compile(r"tags options: (?P<options>.*?)\. Answer the following", re.DOTALL)


def numbered_questions(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each question of prompts that ask several; the target lists the answers."""
    prefix: str = form.settings["prefix"]
    for file in files:
        for number, record in file:
            place = file.place(number)
            context = value_of(record, "context", place=place, task=task)
            answers = value_of(record, "target", place=place, task=task).split(",")
            asked = list(_QUESTION.finditer(context))
            if len(asked) != len(answers):
                raise DataError(
                    f"{place} asks {len(asked)} questions and has {len(answers)} answers."
                )
            options = _OPTIONS.search(context)
            if options and any(not option.strip() for option in options["options"].split(",")):
                reading.seen["empty option in the list of tags"] += 1
            reading.seen["questions"] += len(asked)
            for position, (question, answer) in enumerate(zip(asked, answers, strict=True)):
                yield (
                    place,
                    {
                        "text": question["text"],
                        "entity": question["entity"],
                        "place": _order(asked, position),
                        "label": prefix + answer.strip().removeprefix(prefix),
                    },
                )


def tagged_numerals(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each tagged number of FNXL's sentences.

    The lists stand in the cells as Python literals. The ids of ``ner_tags`` count from 1 in the
    file of labels, which has no header; 0 is no tag.
    """
    first, labels = files
    names = _label_names(labels)
    for number, record in first:
        place = first.place(number)
        text = value_of(record, "sentence", place=place, task=task)
        tokens, ids = (_literal(record, column, list, place) for column in ("tokens", "ner_tags"))
        declared = _literal(record, "numerals-tags", dict, place)
        if len(tokens) != len(ids):
            raise DataError(f"{place} has {len(tokens)} tokens and {len(ids)} tags.")
        reading.seen["sentence with several tags"] += len(declared) > 1
        reading.seen["next sentence glued on"] += bool(re.search(r"[a-z]\.[A-Z][a-z]", text))
        seen: dict[str, int] = {}
        for token, tag_id in zip(tokens, ids, strict=True):
            if not tag_id:
                continue
            if tag_id > len(names):
                raise DataError(f"{place} has the tag id {tag_id}; there are {len(names)}.")
            tag = names[tag_id - 1]
            if token not in declared.get(tag, ()):
                reading.dropped["number whose two columns disagree"] += 1
                continue
            seen[token] = seen.get(token, 0) + 1
            yield (
                place,
                {
                    "text": text,
                    "entity": token,
                    "place": str(seen[token]),
                    "company": value_of(record, "company", place=place, task=task),
                    "label": tag,
                },
            )


def tagged_tokens(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each number of FiNER's own form: tokens with IOB2 tag names."""
    prefix: str = form.settings["prefix"]
    for file in files:
        for number, record in file:
            place = file.place(number)
            tokens = record[form.columns["tokens"]]
            seen: dict[str, int] = {}
            for token, tag in zip(tokens, record[form.columns["tags"]], strict=True):
                if not isinstance(tag, str):
                    raise DataError(f"{place} has tag ids instead of names.")
                if not tag.startswith("B-"):
                    continue
                seen[token] = seen.get(token, 0) + 1
                yield (
                    place,
                    {
                        "text": " ".join(tokens),
                        "entity": token,
                        "place": str(seen[token]),
                        "label": prefix + tag.removeprefix("B-"),
                    },
                )


def _order(asked: Sequence[re.Match[str]], position: int) -> str:
    """Return which one of equal questions this is: a number may stand twice in a sentence."""
    this = (asked[position]["text"], asked[position]["entity"])
    before = [(question["text"], question["entity"]) for question in asked[:position]]
    return str(1 + before.count(this))


def _label_names(labels: Records) -> list[str]:
    with labels.path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if row]
    labels.count = len(rows)
    if [row[0] for row in rows] != [str(number) for number in range(len(rows))]:
        raise DataError(f"'{labels.path}' does not number its labels from 0.")
    return [row[1] for row in rows]


def _literal(record: Record, column: str, kind: type, place: str) -> Any:
    try:
        value = ast.literal_eval(str(record[column]))
    except (KeyError, ValueError, SyntaxError):
        raise DataError(f"{place} has no readable '{column}'.") from None
    if not isinstance(value, kind):
        raise DataError(f"{place} has a '{column}' that is no {kind.__name__}.")
    return value
