"""Readers of the raw forms in which data sets come, one small function for each shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ...tasks import HubForm, RawForm, Task
from ..reading import Reading, Records
from .agreement import agreement
from .built import built_questions, evidence_pages
from .columns import Placed, bench_records, columns, filing_questions
from .flags import flags
from .mentions import mentions
from .numerals import numbered_questions, tagged_numerals, tagged_tokens
from .pattern import pattern
from .scores import scored_entries, scored_records

Shape = Callable[[Sequence[Records], RawForm | HubForm, Task, Reading], Placed]

#: Name that a task's form gives -> the function that makes rows of records.
SHAPES: Final[Mapping[str, Shape]] = {
    "agreement": agreement,
    "bench_records": bench_records,
    "built_questions": built_questions,
    "columns": columns,
    "evidence_pages": evidence_pages,
    "filing_questions": filing_questions,
    "flags": flags,
    "mentions": mentions,
    "numbered_questions": numbered_questions,
    "pattern": pattern,
    "scored_entries": scored_entries,
    "scored_records": scored_records,
    "tagged_numerals": tagged_numerals,
    "tagged_tokens": tagged_tokens,
}

__all__ = ["SHAPES", "Placed", "Shape"]
