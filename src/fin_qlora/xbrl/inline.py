"""Facts of inline documents, one or several that together make one filing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lxml import etree

from ..errors import DataError
from .collector import Collector
from .names import INLINE, XBRLI


def _tags(name: str) -> tuple[str, ...]:
    return tuple(f"{{{namespace}}}{name}" for namespace in INLINE)


NUMBERS, _TEXT = _tags("nonFraction"), _tags("nonNumeric")
_UNREAD = (*_tags("fraction"), *_tags("tuple"))
_FACTS = (*NUMBERS, *_TEXT, *_UNREAD)
_CONTINUATION, _EXCLUDE, _HIDDEN = _tags("continuation"), _tags("exclude"), _tags("hidden")
_RESOURCES = (f"{{{XBRLI}}}context", f"{{{XBRLI}}}unit")


def read_inline(documents: Sequence[tuple[str, etree._Element]], collector: Collector) -> None:
    """Add every fact of a set of inline documents, in their order.

    Contexts, units and continuations may stand in any document of the set. Facts of another
    target document, fractions and tuples are counted, not read.

    Raises:
        DataError: a continuation id is used twice, or there are too many continuations.
    """
    continuations: dict[str, etree._Element] = {}
    for name, root in documents:
        collector.scope.read(root.iter(*_RESOURCES), place=name)
        for element in root.iter(*_CONTINUATION):
            identifier = element.get("id", "")
            if continuations.setdefault(identifier, element) is not element:
                raise DataError(f"{name}: the id '{identifier[:80]}' continues two texts.")
        if len(continuations) > collector.scope.limits.continuations:
            raise DataError(f"{name} continues more than {len(continuations) - 1:,} texts.")
    for name, root in documents:
        collector.document = name
        for element in root.iter(*_FACTS):
            _read(element, continuations, collector)


def _read(
    element: etree._Element, continuations: dict[str, etree._Element], collector: Collector
) -> None:
    if element.get("target") is not None:
        collector.reject("another target document")
        return
    if element.tag in _UNREAD:
        collector.reject("fraction or tuple")
        return
    prefix, colon, name = element.get("name", "").strip().partition(":")
    namespace = element.nsmap.get(prefix) if colon else None
    if namespace is None or not name:
        collector.reject("name without a declared prefix")
        return
    concept = collector.scope.prefixes.concept(namespace, name, prefix)
    hidden = next(element.iterancestors(*_HIDDEN), None) is not None
    if element.tag in NUMBERS:
        collector.printed(concept, element, visible_text(element), hidden=hidden)
        return
    text: str | None = None
    if collector.wants_text_of(concept):
        pieces = list(_pieces(element, continuations, collector))
        text = " ".join("".join(pieces).split())
    collector.said(concept, element, text, hidden=hidden)


def _pieces(
    element: etree._Element, continuations: dict[str, etree._Element], collector: Collector
) -> Iterator[str]:
    """Yield the text of an element and of what continues it; a chain in a circle ends."""
    yield visible_text(element)
    seen: set[str] = set()
    following = element.get("continuedAt")
    while following:
        piece = continuations.get(following)
        if piece is None or following in seen:
            collector.reject("continuation that leads nowhere")
            return
        seen.add(following)
        yield visible_text(piece)
        following = piece.get("continuedAt")


def visible_text(element: etree._Element) -> str:
    """Return the text of an element and all it holds, without what ``ix:exclude`` takes out."""
    if not len(element):
        return element.text or ""
    if next(element.iter(*_EXCLUDE), None) is None:
        return "".join(element.itertext())
    parts: list[str] = []
    walk = etree.iterwalk(element, events=("start", "end"))
    for event, node in walk:
        if event == "end":
            parts.append((node.tail or "") if node is not element else "")
        elif node.tag in _EXCLUDE:
            walk.skip_subtree()
        else:
            parts.append(node.text or "")
    return "".join(parts)
