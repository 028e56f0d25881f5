"""The contexts and units of a document: who, when, along which axes, in which measure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta

from lxml import etree

from ..errors import DataError
from .facts import Context, Dimension, Period
from .limits import Limits
from .names import XBRLDI, XBRLI, Prefixes, read_unit

_CONTEXT, _UNIT = f"{{{XBRLI}}}context", f"{{{XBRLI}}}unit"
_IDENTIFIER = f"{{{XBRLI}}}entity/{{{XBRLI}}}identifier"
_PERIOD = f"{{{XBRLI}}}period"
_SEGMENT = f"{{{XBRLI}}}entity/{{{XBRLI}}}segment"
_SCENARIO = f"{{{XBRLI}}}scenario"
_EXPLICIT, _TYPED = f"{{{XBRLDI}}}explicitMember", f"{{{XBRLDI}}}typedMember"
_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(T[\d:.]{5,20})?(?:Z|[+-]\d\d:\d\d)?")
_MIDNIGHT = re.compile(r"T00:00(?::00(?:\.0*)?)?")


class Scope:
    """The contexts and units that the facts of one filing refer to, by id."""

    def __init__(self, prefixes: Prefixes, limits: Limits) -> None:
        self.prefixes = prefixes
        self.limits = limits
        self.contexts: dict[str, Context] = {}
        self.units: dict[str, str] = {}
        self._same: dict[Context, Context] = {}

    def read(self, elements: Iterable[etree._Element], *, place: str) -> None:
        """Read every context and unit among ``elements``.

        Raises:
            DataError: one cannot be read, one id stands for two contexts, or there are too many.
        """
        for element in elements:
            identifier = element.get("id", "")
            if element.tag == _CONTEXT:
                context = self._context(element, place=f"{place}, context '{identifier[:80]}'")
                context = self._same.setdefault(context, context)
                if self.contexts.setdefault(identifier, context) != context:
                    raise DataError(f"{place}: the context id '{identifier[:80]}' is used twice.")
            elif element.tag == _UNIT:
                unit = read_unit(element, self.prefixes, place=place)
                if self.units.setdefault(identifier, unit) != unit:
                    raise DataError(f"{place}: the unit id '{identifier[:80]}' is used twice.")
        if len(self.contexts) > self.limits.contexts or len(self.units) > self.limits.units:
            raise DataError(
                f"{place} has {len(self.contexts):,} contexts and {len(self.units):,} units; at "
                f"most {self.limits.contexts:,} and {self.limits.units:,} are read."
            )

    def _context(self, element: etree._Element, *, place: str) -> Context:
        identifier = element.find(_IDENTIFIER)
        period = element.find(_PERIOD)
        if identifier is None or period is None:
            raise DataError(f"{place}: the entity or the period is missing.")
        dimensions: list[Dimension] = []
        for path in (_SEGMENT, _SCENARIO):
            container = element.find(path)
            for member in () if container is None else container:
                dimensions.append(self._dimension(member, place=place))
        axes = [dimension.axis for dimension in dimensions]
        if len(set(axes)) != len(axes):
            raise DataError(f"{place}: an axis has two members.")
        return Context(
            " ".join((identifier.text or "").split()),
            read_period(period, place=place),
            tuple(sorted(dimensions)),
        )

    def _dimension(self, member: etree._Element, *, place: str) -> Dimension:
        if member.tag == _EXPLICIT:
            axis = self.prefixes.read(member.get("dimension", ""), member.nsmap, place=place)
            text = self.prefixes.read(member.text or "", member.nsmap, place=place)
            return Dimension(axis, str(text))
        said = " ".join("".join(member.itertext()).split())[:1000]
        if member.tag == _TYPED:
            axis = self.prefixes.read(member.get("dimension", ""), member.nsmap, place=place)
        else:  # filings before dimensions put elements of their own here
            name = etree.QName(member)
            axis = self.prefixes.concept(name.namespace or "", name.localname, member.prefix)
        return Dimension(axis, said, typed=True)


def read_period(element: etree._Element, *, place: str) -> Period:
    """Return the period of a context, whole days. Raises DataError where it is none."""
    days = {etree.QName(child).localname: (child.text or "").strip() for child in element}
    if "instant" in days:
        return Period(_last_day(days["instant"], place))
    if "startDate" in days and "endDate" in days:
        start, end = _first_day(days["startDate"], place), _last_day(days["endDate"], place)
        if start > end:
            raise DataError(f"{place}: the period ends before it starts.")
        return Period(end, start)
    if "forever" in days:
        return Period(None)
    raise DataError(f"{place}: the period has no dates.")


def _last_day(text: str, place: str) -> date:
    """Read an instant or end: midnight at the start of a day ends the day before."""
    day, time = _read(text, place)
    return day - timedelta(days=1) if time and _MIDNIGHT.fullmatch(time) else day


def _first_day(text: str, place: str) -> date:
    return _read(text, place)[0]


def _read(text: str, place: str) -> tuple[date, str | None]:
    found = _DAY.fullmatch(text)
    try:
        if found:
            return date.fromisoformat(found[1]), found[2]
    except ValueError:
        pass
    raise DataError(f"{place}: '{text[:40]}' is not a date.")
