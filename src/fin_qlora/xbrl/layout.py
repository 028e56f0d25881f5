"""How a segment is written, and how it is read back to check it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from ..errors import DataError
from .documents import parse
from .facts import Context, Decimals, Dimension, Fact, Key
from .limits import Limits
from .numbers import NumberError, plain_text, printed_number
from .reconcile import Known
from .settings import Mode

#: Characters for each token, as measured on real filings with a tokenizer of 128,000 words.
_CHARACTERS: Final[Mapping[Mode, float]] = {
    "clean": 2.9,
    "verbatim": 1.8,
    "inline_table": 3.3,
    "compat": 2.9,
}
_LIMITS = Limits()


@dataclass(frozen=True)
class Layout:
    """A way to write facts, with an estimate of what it costs."""

    mode: Mode

    @property
    def overhead(self) -> int:
        """Return the characters of a segment without facts: its root and its namespaces."""
        return 0 if self.mode == "compat" else 250

    @property
    def estimator(self) -> str:
        """Return how tokens are estimated, for the record."""
        return f"characters/{_CHARACTERS[self.mode]}"

    def tokens(self, characters: int) -> int:
        """Return the tokens that so many characters take, as estimated."""
        return math.ceil(characters / _CHARACTERS[self.mode])


@dataclass(frozen=True)
class Passage:
    """A fact as a segment shows it, word for word, and what it is about."""

    key: Key
    text: str


@dataclass(frozen=True, kw_only=True)
class Written:
    """A segment: its text, the id that each context has in it, and its facts from top to bottom."""

    text: str
    context_ids: Mapping[Context, str]
    facts: tuple[Passage, ...]


def write_segment(
    facts: Sequence[Known],
    namespaces: Mapping[str, str],
    *,
    mode: Mode,
    mix: random.Random | None = None,
) -> Written:
    """Write facts as a segment, in the order given, every prefix declared.

    Contexts come by first use, or mixed, so that the busiest is not always the first. ``clean``
    renames them c1, c2 … in that order, and units to what people call them; ``verbatim`` keeps
    the ids of the filing; ``compat`` writes what the published benchmark shows, which is not
    well-formed.
    """
    elements = [element for one in facts for element in _distinct(one)]
    if mode == "compat":
        bare = tuple(Passage(fact.key, _bare(fact)) for fact in elements)
        return Written(text="\n".join(one.text for one in bare), context_ids={}, facts=bare)
    filed = {fact.key.context: fact.context_id for fact in reversed(elements)}
    contexts = list(dict.fromkeys(fact.key.context for fact in elements))
    if mix is not None:
        mix.shuffle(contexts)
    ids = {
        context: f"c{number}" if mode == "clean" else filed[context]
        for number, context in enumerate(contexts, start=1)
    }
    entities = sorted({context.entity for context in ids})
    names = dict.fromkeys(_prefixes(elements))
    root = "".join(f" xmlns:{name}={quoteattr(namespaces[name])}" for name in sorted(names))
    single = f" entity={quoteattr(entities[0])}" if len(entities) == 1 else ""
    lines = [f"<xbrl{single}{root}>"]
    lines += [context_line(context, ids[context], alone=bool(single)) for context in contexts]
    shown = tuple(Passage(fact.key, _fact(fact, ids[fact.key.context], mode)) for fact in elements)
    text = "\n".join([*lines, *(one.text for one in shown), "</xbrl>"])
    return Written(text=text, context_ids=ids, facts=shown)


def fact_cost(one: Known, layout: Layout, *, new_context: bool) -> int:
    """Return the characters that a fact adds to a segment, about."""
    if layout.mode == "compat":
        return sum(len(_bare(fact)) + 1 for fact in _distinct(one))
    cost = sum(len(_fact(fact, "c00", layout.mode)) + 1 for fact in _distinct(one))
    if new_context:
        identifier = "c00" if layout.mode == "clean" else one.fact.context_id
        cost += len(context_line(one.key.context, identifier, alone=True)) + 1
    if layout.mode == "verbatim":
        cost += 2 * len(one.fact.context_id)
    return cost


def _distinct(one: Known) -> list[Fact]:
    """Return the elements of a fact that differ in what a segment shows of them."""
    shown: dict[tuple[Decimal | None, Decimals], Fact] = {}
    for fact in (one.fact, *one.elements):
        if fact.value == one.value:
            shown.setdefault((fact.value, one.fact.decimals), one.fact)
        else:
            shown.setdefault((fact.value, fact.decimals), fact)
    return list(shown.values())


def _prefixes(facts: Sequence[Fact]) -> list[str]:
    found = []
    for fact in facts:
        found.append(fact.key.concept.prefix)
        for dimension in fact.key.context.dimensions:
            found.append(dimension.axis.prefix)
            if not dimension.typed:
                found.append(dimension.member.partition(":")[0])
    return found


def context_line(context: Context, identifier: str, *, alone: bool) -> str:
    """Write a context; ``alone`` leaves out the entity, which the root names then."""
    period = context.period
    if period.start is not None:
        when = f"<startDate>{period.start}</startDate><endDate>{period.end}</endDate>"
    else:
        when = f"<instant>{period.end}</instant>"
    who = "" if alone else f"<entity>{escape(context.entity)}</entity>"
    members = "".join(_member(dimension) for dimension in context.dimensions)
    return f"<context id={quoteattr(identifier)}>{who}{when}{members}</context>"


def _member(dimension: Dimension) -> str:
    kind = "typedMember" if dimension.typed else "explicitMember"
    return f'<{kind} dimension="{dimension.axis}">{escape(dimension.member)}</{kind}>'


def _bare(fact: Fact) -> str:
    return f"<{fact.key.concept}>{plain_text(fact.value or Decimal(0))}</>"


def _fact(fact: Fact, context_id: str, mode: Mode) -> str:
    attributes = {"contextRef": context_id, "unitRef": fact.key.unit or ""}
    if fact.decimals is not None:
        attributes["decimals"] = str(fact.decimals)
    if mode == "verbatim":
        attributes["unitRef"] = fact.unit_id
        if fact.fact_id:
            attributes["id"] = fact.fact_id
    written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
    name = fact.key.concept
    return f"<{name}{written}>{plain_text(fact.value or Decimal(0))}</{name}>"


@dataclass(frozen=True)
class Line:
    """One fact of a segment as it is read back."""

    concept: str
    period: str
    dimensions: tuple[tuple[str, str], ...]
    context_id: str
    unit: str
    decimals: str
    value: Decimal


def read_segment(text: str) -> list[Line]:
    """Read a segment back. Raises DataError where it is not well-formed or a fact has no context.

    A ``compat`` segment cannot be read: it is checked in its ``clean`` form.
    """
    root = parse(text.encode("utf-8"), name="segment", limits=_LIMITS)
    contexts: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {}
    lines = []
    for element in root.iter("context"):
        contexts[element.get("id", "")] = _read_context(element)
    for element in root.iter():
        if element.get("contextRef") is None:
            continue
        known = contexts.get(element.get("contextRef", ""))
        if known is None:
            raise DataError("segment: a fact refers to a context that is not there.")
        inline = element.get("name")
        lines.append(
            Line(
                concept=inline or f"{element.prefix}:{etree.QName(element).localname}",
                period=known[0],
                dimensions=known[1],
                context_id=element.get("contextRef", ""),
                unit=element.get("unitRef", ""),
                decimals=element.get("decimals", ""),
                value=_printed(element) if inline else Decimal(element.text or ""),
            )
        )
    return lines


def _printed(element: etree._Element) -> Decimal:
    try:
        return printed_number(
            element.text or "",
            form=element.get("format", ""),
            scope=None,
            scale=element.get("scale", ""),
            sign=element.get("sign", ""),
            limits=_LIMITS,
        )
    except NumberError as error:
        raise DataError(f"segment: {error}.") from None


def _read_context(element: etree._Element) -> tuple[str, tuple[tuple[str, str], ...]]:
    said = {child.tag: child.text or "" for child in element}
    period = said.get("instant") or f"{said.get('startDate')}/{said.get('endDate')}"
    members = [
        (child.get("dimension", ""), child.text or "")
        for child in element
        if child.tag in ("explicitMember", "typedMember")
    ]
    return period, tuple(members)
