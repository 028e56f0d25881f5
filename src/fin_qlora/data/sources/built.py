"""Questions that ``fin-qlora data xbrl`` built from filings, and questions on pages of filings."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ...errors import DataError
from ...prompts import FACTS
from ...tasks import HubForm, RawForm, Task
from ..cleaning import repaired
from ..reading import Reading, Record, Records
from .columns import Placed, value_of


def built_questions(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each question of the task's kinds; the others belong to other tasks."""
    kinds: tuple[str, ...] = form.settings["kinds"]
    for file in files:
        mine = 0
        for number, record in file:
            place = file.place(number)
            if value_of(record, "task", place=place, task=task) not in kinds:
                continue
            mine += 1
            meta = record.get("meta", {})
            if not isinstance(meta, dict):
                raise DataError(f"{place} has a 'meta' that is not an object.")
            yield (
                place,
                {
                    "text": value_of(record, "segment", place=place, task=task),
                    "question": value_of(record, "question", place=place, task=task),
                    "label": value_of(record, "answer", place=place, task=task),
                    "company": str(meta.get("cik", "")),
                    "filing": str(meta.get("filing") or meta.get("accession") or ""),
                    "fact": value_of(record, "id", place=place, task=task),
                    "alternatives": json.dumps(record.get("answer_alt", []), ensure_ascii=False),
                    FACTS: _facts(record, place=place),
                    "meta": json.dumps(meta, sort_keys=True, ensure_ascii=False),
                },
            )
        file.count = mine


def _facts(record: Record, *, place: str) -> str:
    """Return as JSON what may be left out of a segment; nothing where the file does not say."""
    try:
        facts = [
            # changed as the segment is, which holds them word for word
            {"text": repaired(str(fact["text"])), "keep": bool(fact["keep"])}
            for fact in record.get(FACTS) or ()
        ]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{place} has '{FACTS}' that are not objects with 'text' and 'keep'.",
            fix="Build the questions again with fin-qlora data xbrl.",
        ) from error
    return json.dumps(facts, ensure_ascii=False) if facts else ""


def evidence_pages(
    files: Sequence[Records], form: RawForm | HubForm, task: Task, reading: Reading
) -> Placed:
    """Make a row of each question that lists the pages of evidence it is answered from."""
    for file in files:
        for number, record in file:
            place = file.place(number)
            row = {
                name: value_of(record, column, place=place, task=task)
                for name, column in form.columns.items()
            }
            pages = record.get("evidence") or []
            row["text"] = "\n\n".join(str(page.get("evidence_text", "")) for page in pages)
            yield place, row
