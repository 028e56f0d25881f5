"""Questions that ``fin-qlora data xbrl`` built from filings, and questions on pages of filings."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ...errors import DataError
from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Records
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
                    "meta": json.dumps(meta, sort_keys=True, ensure_ascii=False),
                },
            )
        file.count = mine


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
