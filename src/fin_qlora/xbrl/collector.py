"""Gathers the facts of one filing while its documents are read, within the limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from lxml import etree

from ..errors import DataError
from .contexts import Scope
from .facts import Concept, Context, Fact, Key
from .names import XSI
from .numbers import NumberError, plain_number, printed_number, read_decimals

NIL = f"{{{XSI}}}nil"
_TRUE = ("true", "1")


class Collector:
    """Holds the facts read so far and the reasons why elements were left out."""

    def __init__(self, scope: Scope, *, text_blocks: bool) -> None:
        self.scope = scope
        self.text_blocks = text_blocks
        self.document = ""
        self.facts: list[Fact] = []
        self.rejected: Counter[str] = Counter()
        self._characters = 0
        self._keys: dict[tuple[Concept, Context, str | None], Key] = {}

    def reject(self, reason: str) -> None:
        """Count an element that is left out."""
        self.rejected[reason] += 1

    def wants_text_of(self, concept: Concept) -> bool:
        """Say whether the text of a fact that is no number is read: text blocks are not."""
        return self.text_blocks or not concept.name.endswith("TextBlock")

    def plain(self, concept: Concept, element: etree._Element) -> None:
        """Add a fact of an instance, where numbers are written in full."""
        key = self._key(concept, element)
        if key is None:
            return
        text = element.text or ""
        if key.unit is None:
            self._said(key, element, text.strip() if self.wants_text_of(concept) else None)
        elif len(element):
            self.reject("fraction or tuple")
        else:
            self._number(key, element, text)

    def printed(
        self, concept: Concept, element: etree._Element, text: str, *, hidden: bool
    ) -> None:
        """Add a number of an inline document, printed for people."""
        key = self._key(concept, element)
        if key is not None and key.unit is None:
            self.reject("number without a unit")
        elif key is not None:
            self._number(key, element, text, inline=True, hidden=hidden)

    def said(
        self, concept: Concept, element: etree._Element, text: str | None, *, hidden: bool
    ) -> None:
        """Add a fact of an inline document that is no number."""
        key = self._key(concept, element)
        if key is not None:
            self._said(key, element, text, hidden=hidden)

    def _said(
        self, key: Key, element: etree._Element, text: str | None, *, hidden: bool = False
    ) -> None:
        limits = self.scope.limits
        length = len(text or "")
        self._characters += length
        if length > limits.text_characters or self._characters > limits.all_text_characters:
            raise DataError(
                f"{self.document}: at '{key.concept}' the text of the facts passes "
                f"{limits.text_characters:,} characters, or {limits.all_text_characters:,} in all."
            )
        self._add(key, element, value=None, text=text, hidden=hidden)

    def _number(
        self,
        key: Key,
        element: etree._Element,
        text: str,
        *,
        inline: bool = False,
        hidden: bool = False,
    ) -> None:
        if element.get(NIL) in _TRUE:
            self._add(key, element, value=None, text=None, hidden=hidden)
            return
        limits = self.scope.limits
        scale, sign, form = "", "", ""
        try:
            if inline:
                scale = (element.get("scale") or "").strip()
                sign = (element.get("sign") or "").strip()
                form = element.get("format") or ""
                scopes: Mapping[str | None, str] = element.nsmap if form else {}
                value = printed_number(
                    text, form=form, scope=scopes, scale=scale, sign=sign, limits=limits
                )
            else:
                value = plain_number(text, limits=limits)
        except NumberError as error:
            self.reject(str(error))
            return
        self._add(
            key,
            element,
            value=value,
            text=None,
            raw=text.strip(),
            scale=int(scale or "0"),
            negated=bool(sign),
            form=form,
            hidden=hidden,
        )

    def _key(self, concept: Concept, element: etree._Element) -> Key | None:
        context = self.scope.contexts.get(element.get("contextRef", ""))
        if context is None:
            self.reject("context that is not there")
            return None
        reference = element.get("unitRef")
        unit = None if reference is None else self.scope.units.get(reference)
        if reference is not None and unit is None:
            self.reject("unit that is not there")
            return None
        parts = (concept, context, unit)
        return self._keys.setdefault(parts, Key(*parts))

    def _add(
        self,
        key: Key,
        element: etree._Element,
        *,
        value: Decimal | None,
        text: str | None,
        hidden: bool,
        raw: str = "",
        scale: int = 0,
        negated: bool = False,
        form: str = "",
    ) -> None:
        if len(self.facts) >= self.scope.limits.facts:
            raise DataError(
                f"{self.document} has more than {self.scope.limits.facts:,} facts.",
                fix="Raise the limit if this is a real filing.",
            )
        decimals = (
            None
            if value is None
            else read_decimals(element.get("decimals"), element.get("precision"), value)
        )
        self.facts.append(
            Fact(
                key=key,
                value=value,
                text=text,
                decimals=decimals,
                nil=element.get(NIL) in _TRUE,
                raw=raw,
                scale=scale,
                negated=negated,
                format=form,
                fact_id=element.get("id") or "",
                context_id=element.get("contextRef") or "",
                unit_id=element.get("unitRef") or "",
                hidden=hidden,
                document=self.document,
                order=len(self.facts),
            )
        )
