"""Facts of an XBRL instance: the classic one, and the one that the SEC extracts from inline."""

from __future__ import annotations

from lxml import etree

from .collector import Collector
from .names import LINK, XBRLI

_NOT_FACTS = (f"{{{XBRLI}}}", f"{{{LINK}}}")


def read_instance(root: etree._Element, collector: Collector) -> None:
    """Add every fact below the root of an instance; tuples are counted, not read."""
    place = collector.document
    collector.scope.read(root.iterchildren(f"{{{XBRLI}}}context", f"{{{XBRLI}}}unit"), place=place)
    for element in root:
        tag = element.tag
        if not isinstance(tag, str) or tag.startswith(_NOT_FACTS):
            continue
        if element.get("contextRef") is None:
            collector.reject("fraction or tuple" if len(element) else "fact without a context")
            continue
        namespace, _, name = tag[1:].partition("}") if tag[0] == "{" else ("", "", tag)
        concept = collector.scope.prefixes.concept(namespace, name, element.prefix)
        collector.plain(concept, element)
