"""One filing, arranged for asking: its facts by concept and context, and how it names them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property

from .cover import Cover, is_year, read_cover
from .facts import Concept, Context, Dimension, Filing, Period
from .labels import DOCUMENTATION, FROM_NAME, STANDARD, label_of
from .names import is_plain_unit
from .reconcile import Known, reconcile
from .settings import BuildSettings

_DESCRIPTIONS = (DOCUMENTATION, STANDARD, "verboseLabel", "terseLabel")
_LONGEST_DESCRIPTION = 400


class FilingIndex:
    """The numeric facts of a filing with one value each, and the words for what they are."""

    def __init__(self, filing: Filing, settings: BuildSettings) -> None:
        self.filing = filing
        self.cover: Cover = read_cover(filing)
        everything, self.left_out = reconcile(filing.facts)
        self.known: list[Known] = []
        for one in everything:
            reason = _reason_to_skip(one, settings)
            if reason:
                self.left_out[reason] += 1
            else:
                self.known.append(one)
        self.position = {one.key: number for number, one in enumerate(self.known)}
        self.by_concept: dict[Concept, list[Known]] = defaultdict(list)
        self.by_context: dict[Context, list[Known]] = defaultdict(list)
        for one in self.known:
            self.by_concept[one.key.concept].append(one)
            self.by_context[one.key.context].append(one)

    @cached_property
    def entity(self) -> str:
        """Return the entity that most facts are about."""
        entities = Counter(one.key.context.entity for one in self.known)
        return max(entities, key=lambda name: (entities[name], name), default="")

    @property
    def identity(self) -> str:
        """Return what names the filing in ids: EDGAR's number, else company and schema."""
        filing = self.filing
        stem = filing.schema.rpartition(".")[0] or filing.documents[0].name
        return filing.accession or f"{self.cover.cik}/{stem}/{self.cover.form}"

    @property
    def sameness(self) -> str:
        """Return what two copies of one filing share, wherever they lie."""
        cover = self.cover
        parts = (cover.cik, self.filing.schema, cover.form, str(cover.amendment), str(cover.period))
        return "|".join(parts)

    def find(self, concept: Concept, context: Context) -> Known | None:
        """Return the fact of a concept in a context, None where there is none or several units."""
        found = [one for one in self.by_context.get(context, ()) if one.key.concept == concept]
        return found[0] if len(found) == 1 else None

    def label(self, concept: Concept) -> tuple[str, str]:
        """Return (standard label, role) of a concept."""
        return label_of(str(concept), self.filing.labels)

    def descriptions(self, concept: Concept) -> list[tuple[str, str]]:
        """Return the (text, role) pairs that describe this concept and no other of the filing.

        The role is ``name`` where the filing brings no label and the text is the name in words.
        """
        roles = self.filing.labels.get(str(concept), {})
        found = [
            (roles[role], role)
            for role in _DESCRIPTIONS
            if role in roles and len(roles[role]) <= _LONGEST_DESCRIPTION
        ]
        found = found or [label_of(str(concept), self.filing.labels)]
        return [(text, role) for text, role in found if self._texts[text.lower()] == 1]

    def members(self, dimensions: Iterable[Dimension]) -> str:
        """Return members in words: "Product or Service is iPhone and Segments is Europe"."""
        return " and ".join(
            f"{label_of(str(d.axis), self.filing.labels)[0]} is {self._member(d)}"
            for d in dimensions
        )

    def when(self, period: Period) -> str:
        """Return a period in words, with the company's own fiscal year where it says one."""
        if period.end is None:
            return "for all time"
        if period.start is None:
            return f"as of {period.end}"
        if is_year(period) and self._ends[period.end, "year"] == 1:
            fiscal = (
                f" (fiscal {self.cover.fiscal_year})"
                if self.cover.fiscal_year and period == self.cover.period and self.cover.annual
                else ""
            )
            return f"for the year ended {period.end}{fiscal}"
        if 80 <= period.days <= 100 and self._ends[period.end, "quarter"] == 1:
            return f"for the quarter ended {period.end}"
        return f"for the period from {period.start} to {period.end}"

    def asked(self, one: Known) -> tuple[str, str, str]:
        """Return what a question about a fact says: (label, period, members), in words."""
        context = one.key.context
        label = self.label(one.key.concept)[0]
        return label, self.when(context.period), self.members(context.dimensions)

    def is_ambiguous(self, one: Known) -> bool:
        """Say whether another fact of the filing would be asked for with the same words."""
        return self._asked[tuple(part.lower() for part in self.asked(one))] > 1

    def is_ambiguous_context(self, context: Context) -> bool:
        """Say whether another context of the filing would be asked for with the same words."""
        return self._contexts[self._context_words(context)] > 1

    def _context_words(self, context: Context) -> tuple[str, str]:
        return self.when(context.period), self.members(context.dimensions).lower()

    def _member(self, dimension: Dimension) -> str:
        if dimension.typed:
            return f"'{dimension.member}'"
        return label_of(dimension.member, self.filing.labels)[0]

    @cached_property
    def _texts(self) -> Counter[str]:
        texts: Counter[str] = Counter()
        for concept in self.by_concept:
            own = {label_of(str(concept), self.filing.labels)[0].lower()}
            roles = self.filing.labels.get(str(concept), {})
            own |= {roles[role].lower() for role in _DESCRIPTIONS if role in roles}
            texts.update(own)
        return texts

    @cached_property
    def _asked(self) -> Counter[tuple[str, ...]]:
        return Counter(tuple(part.lower() for part in self.asked(one)) for one in self.known)

    @cached_property
    def _contexts(self) -> Counter[tuple[str, str]]:
        return Counter(map(self._context_words, self.by_context))

    @cached_property
    def _ends(self) -> Counter[tuple[object, str]]:
        ends: Counter[tuple[object, str]] = Counter()
        for period in {context.period for context in self.by_context}:
            if is_year(period):
                ends[period.end, "year"] += 1
            elif 80 <= period.days <= 100:
                ends[period.end, "quarter"] += 1
        return ends


def has_label(role: str) -> bool:
    """Say whether a description came from the filing and was not made from the concept's name."""
    return role != FROM_NAME


def _reason_to_skip(one: Known, settings: BuildSettings) -> str:
    if not one.visible and not settings.hidden:
        return "hidden"
    unit = one.key.unit or ""
    if not settings.odd_units and not is_plain_unit(unit):
        return "odd unit"
    if one.key.context.period.end is None:
        return "forever"
    return ""
