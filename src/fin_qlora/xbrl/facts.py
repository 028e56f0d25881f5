"""What a filing says, as frozen values: concepts, periods, members, units, facts.

A fact's value is a ``Decimal`` made from the digits in the filing, never a float; what was printed
(text, scale, sign, format) stays beside it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Final, Literal, TypeAlias

#: Decimals of a value that is exact, as XBRL spells it.
EXACT: Final = "INF"
Decimals: TypeAlias = int | Literal["INF"] | None


@dataclass(frozen=True, order=True)
class Concept:
    """A name of a taxonomy: ``us-gaap:Assets``. The prefix is the standard one, not the file's."""

    prefix: str
    name: str

    def __str__(self) -> str:
        return f"{self.prefix}:{self.name}"


@dataclass(frozen=True)
class Period:
    """An instant (``start`` is None), a duration (both days belong to it), or forever (neither)."""

    end: date | None
    start: date | None = None

    def __str__(self) -> str:
        if self.end is None:
            return "forever"
        return self.end.isoformat() if self.start is None else f"{self.start}/{self.end}"

    @property
    def days(self) -> int:
        """Return the length of a duration in days, 0 for an instant."""
        return 0 if self.start is None or self.end is None else (self.end - self.start).days + 1


@dataclass(frozen=True, order=True)
class Dimension:
    """One axis and its member: a member of the taxonomy, or the text of a typed member."""

    axis: Concept
    member: str
    typed: bool = False


@dataclass(frozen=True)
class Context:
    """Who and when a fact is about. ``dimensions`` are sorted by axis."""

    entity: str
    period: Period
    dimensions: tuple[Dimension, ...] = ()


@dataclass(frozen=True)
class Key:
    """What makes two facts the same fact, however often and however exactly it is printed."""

    concept: Concept
    context: Context
    unit: str | None

    @cached_property
    def text(self) -> str:
        """Return the key as one line, stable over runs and machines."""
        members = ",".join(
            f"{d.axis}{'~' if d.typed else '='}{d.member}" for d in self.context.dimensions
        )
        where = f"{self.context.entity}|{self.context.period}|{members}"
        return f"{self.concept}|{where}|{self.unit or ''}"

    @cached_property
    def digest(self) -> str:
        """Return 16 hexadecimal digits that stand for the key, to find it in another filing."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact element.

    Args:
        value: the number in full units; None for text and for nil facts.
        text: the text of a fact that is no number; None where it was not read (text blocks).
        raw: the characters of a number as the document prints them.
        hidden: the fact stands in the part of an inline document that readers do not see.
        order: the position among the facts of the filing, in document order.
    """

    key: Key
    value: Decimal | None
    text: str | None = None
    decimals: Decimals = None
    nil: bool = False
    raw: str = ""
    scale: int = 0
    negated: bool = False
    format: str = ""
    fact_id: str = ""
    context_id: str = ""
    unit_id: str = ""
    hidden: bool = False
    document: str = ""
    order: int = 0

    @property
    def numeric(self) -> bool:
        """Say whether the fact is a number, nil or not: only numbers have a unit."""
        return self.key.unit is not None


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file that was read, with the digest of its bytes."""

    name: str
    kind: Literal["instance", "extracted", "inline", "labels"]
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Filing:
    """All facts of one filing.

    Args:
        place: where it lies, as a path below the folder of filings.
        accession: the number that EDGAR gave it; empty where no name in its path holds one.
        schema: the file name of the schema that its documents refer to.
        namespaces: prefix -> namespace of every prefix that is used.
        rejected: why elements were left out, and how many for each reason.
    """

    place: str
    accession: str
    schema: str
    documents: tuple[Document, ...]
    facts: tuple[Fact, ...]
    namespaces: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)

    @cached_property
    def numbers(self) -> tuple[Fact, ...]:
        """Return the facts that are numbers, in document order, nil ones included."""
        return tuple(fact for fact in self.facts if fact.numeric)
