"""Prefixes and units as readers know them, whatever prefixes a file happens to use."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

from ..errors import DataError
from .facts import Concept

XBRLI = "http://www.xbrl.org/2003/instance"
LINK = "http://www.xbrl.org/2003/linkbase"
XLINK = "http://www.w3.org/1999/xlink"
XBRLDI = "http://xbrl.org/2006/xbrldi"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XML = "http://www.w3.org/XML/1998/namespace"
ISO_4217 = "http://www.xbrl.org/2003/iso4217"
INLINE = ("http://www.xbrl.org/2013/inlineXBRL", "http://www.xbrl.org/2008/inlineXBRL")

_STANDARD = (
    # http://fasb.org/us-gaap/2024, http://xbrl.us/us-gaap/2009-01-31, http://xbrl.sec.gov/dei/2023
    re.compile(r"https?://(?:www\.)?(?:fasb\.org|xbrl\.us|xbrl\.sec\.gov)/([a-z][a-z-]*)/\d{4}"),
    re.compile(r"https?://xbrl\.ifrs\.org/taxonomy/\d{4}-\d{2}-\d{2}/(ifrs-[a-z]+)"),
)
_CURRENCY = re.compile(r"[A-Z]{3}")
_PLAIN_UNIT = re.compile(r"(?:[A-Z]{3}|shares|pure)(?:/shares)?")


def standard_prefix(namespace: str) -> str | None:
    """Return the usual prefix of a yearly standard taxonomy, None for any other namespace."""
    for pattern in _STANDARD:
        if found := pattern.match(namespace):
            return found[1]
    return None


class Prefixes:
    """Gives every namespace of one filing a prefix of its own."""

    def __init__(self) -> None:
        self._prefix: dict[str, str] = {}
        self._taken: set[str] = {"xml", "xmlns", "xbrli", "iso4217"}
        self._concepts: dict[tuple[str, str], Concept] = {}

    @property
    def namespaces(self) -> dict[str, str]:
        """Return prefix -> namespace, sorted by prefix."""
        return dict(sorted((prefix, name) for name, prefix in self._prefix.items()))

    def concept(self, namespace: str, name: str, hint: str | None) -> Concept:
        """Return the concept; ``hint`` is the prefix that the file itself uses."""
        known = self._concepts.get((namespace, name))
        if known is None:
            known = Concept(self._of(namespace, hint), name)
            self._concepts[namespace, name] = known
        return known

    def read(self, text: str, scope: Mapping[str | None, str], *, place: str) -> Concept:
        """Read ``prefix:name`` as written in a document, where ``scope`` declares the prefixes.

        Raises:
            DataError: there is no prefix, or none of that name is declared there.
        """
        prefix, colon, name = text.strip().partition(":")
        namespace = scope.get(prefix) if colon else None
        if namespace is None or not name:
            raise DataError(f"{place}: the name '{text[:80]}' has no declared prefix.")
        return self.concept(namespace, name, prefix)

    def _of(self, namespace: str, hint: str | None) -> str:
        known = self._prefix.get(namespace)
        if known is not None:
            return known
        standard = standard_prefix(namespace)
        wanted = standard or hint or "company"
        prefix, number = wanted, 2
        while prefix in self._taken:
            prefix, number = f"{wanted}{number}", number + 1
        self._taken.add(prefix)
        self._prefix[namespace] = prefix
        return prefix


def read_unit(unit: etree._Element, prefixes: Prefixes, *, place: str) -> str:
    """Return a unit as people write it: ``USD``, ``shares``, ``USD/shares``, ``pure``."""
    numerators = unit.iterfind(f"{{{XBRLI}}}measure")
    above = unit.iterfind(f"{{{XBRLI}}}divide/{{{XBRLI}}}unitNumerator/{{{XBRLI}}}measure")
    below = unit.iterfind(f"{{{XBRLI}}}divide/{{{XBRLI}}}unitDenominator/{{{XBRLI}}}measure")
    top = sorted(_measure(m, prefixes, place) for m in (*numerators, *above))
    bottom = sorted(_measure(m, prefixes, place) for m in below)
    if not top:
        raise DataError(f"{place}: the unit '{unit.get('id', '')[:80]}' has no measure.")
    return "*".join(top) + ("/" + "*".join(bottom) if bottom else "")


def _measure(element: etree._Element, prefixes: Prefixes, place: str) -> str:
    text = (element.text or "").strip()
    prefix, _, name = text.rpartition(":")
    namespace = element.nsmap.get(prefix or None)
    if namespace == ISO_4217 and _CURRENCY.fullmatch(name):
        return name
    if namespace == XBRLI or (not prefix and name in ("pure", "shares")):
        return name
    return str(prefixes.read(text, element.nsmap, place=place))


def is_plain_unit(unit: str) -> bool:
    """Say whether a unit is a currency, shares, a pure number, or one of them per share."""
    return _PLAIN_UNIT.fullmatch(unit) is not None
