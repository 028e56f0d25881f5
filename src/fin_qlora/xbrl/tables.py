"""The printed tables of inline documents, cleaned: facts with their scale and sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from .documents import parse
from .facts import Context, Fact, Key
from .inline import NUMBERS
from .layout import Passage, Written, context_line
from .limits import Limits
from .names import INLINE
from .places import Opened
from .reader import Bundle
from .reconcile import Known

_KEPT = ("decimals", "scale", "sign", "format")


class Tables:
    """The tables of the inline documents of one filing, found by the ids of the facts in them."""

    def __init__(self, roots: Mapping[str, etree._Element], known: Sequence[Known]) -> None:
        by_id = {
            (fact.document, fact.fact_id): (one, fact)
            for one in known
            for fact in one.elements
            if fact.fact_id
        }
        self._elements: dict[tuple[str, str], etree._Element] = {}
        self._known: dict[etree._Element, tuple[Known, Fact]] = {}
        for name, root in roots.items():
            for element in root.iter(*NUMBERS):
                place = (name, element.get("id", ""))
                if place in by_id:
                    self._elements[place] = element
                    self._known[element] = by_id[place]

    def write(self, target: Known, *, without_target: bool) -> tuple[Written, list[Known]] | str:
        """Write the table that prints a fact, or say why there is none.

        Args:
            without_target: leave the place of the fact itself empty.
        """
        tables = [self._table_of(fact) for fact in target.elements]
        table = next((found for found in tables if found is not None), None)
        if table is None:
            return "fact is not printed in a table"
        writer = _Writer(self._known, left_out=target.key if without_target else None)
        lines = writer.rows(table)
        entities = {context.entity for context in writer.ids}
        contexts = [
            context_line(context, identifier, alone=len(entities) == 1)
            for context, identifier in writer.ids.items()
        ]
        single = f" entity={quoteattr(entities.pop())}" if len(entities) == 1 else ""
        root = f"<xbrl{single} xmlns:ix={quoteattr(INLINE[0])}>"
        text = "\n".join([root, *contexts, "<table>", *lines, "</table>", "</xbrl>"])
        written = Written(text=text, context_ids=writer.ids, facts=tuple(writer.written))
        return written, list(writer.shown.values())

    def _table_of(self, fact: Fact) -> etree._Element | None:
        element = self._elements.get((fact.document, fact.fact_id))
        if element is None or fact.hidden:
            return None
        return next(element.iterancestors("{*}table"), None)


def read_tables(
    root: Path, bundle: Bundle, known: Sequence[Known], *, limits: Limits
) -> Tables | None:
    """Read the inline documents of a filing again, for their tables; None where it has none."""
    if bundle.documents[0].kind != "inline":
        return None
    with Opened(root, bundle.place, limits=limits) as opened:
        roots = {
            seen.name: parse(opened.read(seen.name), name=seen.name, limits=limits)
            for seen in bundle.documents
        }
    return Tables(roots, known)


class _Writer:
    def __init__(
        self,
        known: Mapping[etree._Element, tuple[Known, Fact]],
        *,
        left_out: Key | None,
    ) -> None:
        self.ids: dict[Context, str] = {}
        self.shown: dict[Key, Known] = {}
        self.written: list[Passage] = []
        self._known = known
        self._left_out = left_out

    def rows(self, table: etree._Element) -> list[str]:
        """Return the rows of a table that hold anything, without empty cells."""
        lines = []
        for row in table.iter("{*}tr"):
            if next(row.iterancestors("{*}table"), None) is not table:
                continue
            cells = [self._cell(cell) for cell in row.iterchildren("{*}td", "{*}th")]
            written = "".join(f"<td>{cell}</td>" for cell in cells if cell)
            if written:
                lines.append(f"<tr>{written}</tr>")
        return lines

    def _cell(self, cell: etree._Element) -> str:
        return _one_line("".join(self._parts(cell)))

    def _parts(self, element: etree._Element) -> list[str]:
        parts: list[str] = []
        walk = etree.iterwalk(element, events=("start", "end"))
        for event, node in walk:
            if event == "end":
                parts.append(escape(node.tail or "") if node is not element else "")
            elif node.tag in NUMBERS and (found := self._known.get(node)) is not None:
                parts.append(self._fact(node, *found))
                walk.skip_subtree()
            else:
                parts.append(escape(node.text or ""))
        return parts

    def _fact(self, element: etree._Element, one: Known, fact: Fact) -> str:
        if fact.key == self._left_out:
            return ""
        context = fact.key.context
        identifier = self.ids.setdefault(context, f"c{len(self.ids) + 1}")
        self.shown[one.key] = one
        attributes = {
            "name": str(fact.key.concept),
            "contextRef": identifier,
            "unitRef": fact.key.unit or "",
        }
        kept = {name: element.get(name) for name in _KEPT}
        attributes |= {name: value for name, value in kept.items() if value}
        written = "".join(f" {name}={quoteattr(value)}" for name, value in attributes.items())
        text = f"<ix:nonFraction{written}>{escape(fact.raw)}</ix:nonFraction>"
        self.written.append(Passage(fact.key, _one_line(text)))
        return text


def _one_line(text: str) -> str:
    return " ".join(text.split())
