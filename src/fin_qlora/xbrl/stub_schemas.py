"""Schemas that declare just the names that inline documents use, so that Arelle reads them offline.

The real taxonomies cannot be fetched. Names are taken from the documents themselves, not from our
own reading of them, so that a fact that we miss is still declared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from lxml import etree

from ..errors import DataError
from .names import INLINE, ISO_4217, XBRLDI, XBRLI

_XS = "http://www.w3.org/2001/XMLSchema"
_XBRLDT = "http://xbrl.org/2005/xbrldt"
_INSTANCE_SCHEMA = "http://www.xbrl.org/2003/xbrl-instance-2003-12-31.xsd"
_DIMENSIONS_SCHEMA = "http://www.xbrl.org/2005/xbrldt-2005.xsd"
_NUMBERS = tuple(f"{{{namespace}}}{name}" for namespace in INLINE for name in ("nonFraction",))
_TEXTS = tuple(f"{{{namespace}}}nonNumeric" for namespace in INLINE)
_FILE = re.compile(r"[\w.-]{1,200}\.xsd")

Names = dict[str, dict[str, str]]  # namespace -> name -> declaration


def write_stubs(roots: Sequence[etree._Element], schema: str, folder: Path) -> None:
    """Write ``schema``, the one that the documents refer to, and all that it needs into ``folder``.

    Raises:
        DataError: the reference is not the name of a file.
    """
    if not _FILE.fullmatch(schema) or ".." in schema:
        raise DataError(
            f"The documents refer to '{schema[:80]}', which is no file name of a schema."
        )
    names = _names(roots)
    files = {namespace: f"stub-{number}.xsd" for number, namespace in enumerate(sorted(names))}
    for namespace, file in files.items():
        _write(folder / file, namespace, list(names[namespace].values()), {})
    _write(folder / schema, "http://localhost/stubs", [], files)


def _names(roots: Sequence[etree._Element]) -> Names:
    names: Names = {}
    monetary = {
        unit.get("id", "")
        for root in roots
        for unit in root.iter(f"{{{XBRLI}}}unit")
        if _is_monetary(unit)
    }
    for root in roots:
        for element in root.iter(*_NUMBERS, *_TEXTS):
            kind = "string"
            if element.tag in _NUMBERS:
                kind = "monetary" if element.get("unitRef") in monetary else "decimal"
            _declare(names, element.get("name", ""), element, f'type="xbrli:{kind}ItemType"')
        for member in root.iter(f"{{{XBRLDI}}}explicitMember"):
            _declare(names, member.get("dimension", ""), member, _AXIS)
            _declare(names, member.text or "", member, 'type="xbrli:stringItemType"')
        for member in root.iter(f"{{{XBRLDI}}}typedMember"):
            for child in member:
                name = etree.QName(child)
                domain = f'<xs:element name={quoteattr(name.localname)} type="xs:string" id="d"/>'
                names.setdefault(name.namespace or "", {}).setdefault(name.localname, domain)
            _declare(names, member.get("dimension", ""), member, _AXIS)
    return names


_AXIS = 'type="xbrli:stringItemType" abstract="true"'


def _declare(names: Names, text: str, element: etree._Element, attributes: str) -> None:
    prefix, colon, name = text.strip().partition(":")
    namespace = element.nsmap.get(prefix) if colon else None
    if namespace is None or not re.fullmatch(r"[\w.-]+", name):
        return
    group = "xbrldt:dimensionItem" if attributes is _AXIS else "xbrli:item"
    own = names.setdefault(namespace, {})
    declared = own.get(name)
    line = (
        f'<xs:element name={quoteattr(name)} substitutionGroup="{group}" {attributes} '
        'xbrli:periodType="duration" nillable="true"/>'
    )
    if declared is None or ("monetary" in declared and "decimal" in line):
        own[name] = line


def _is_monetary(unit: etree._Element) -> bool:
    measures = unit.findall(f"{{{XBRLI}}}measure")
    if len(measures) != 1:
        return False
    prefix, _, _ = (measures[0].text or "").strip().rpartition(":")
    return measures[0].nsmap.get(prefix or None) == ISO_4217


def _write(path: Path, namespace: str, lines: list[str], imports: dict[str, str]) -> None:
    needs = {XBRLI: _INSTANCE_SCHEMA, _XBRLDT: _DIMENSIONS_SCHEMA, **imports}
    imported = "".join(
        f"<xs:import namespace={quoteattr(name)} schemaLocation={quoteattr(place)}/>"
        for name, place in needs.items()
    )
    path.write_text(
        f'<xs:schema xmlns:xs="{_XS}" xmlns:xbrli="{XBRLI}" xmlns:xbrldt="{_XBRLDT}" '
        f'targetNamespace={quoteattr(namespace)} elementFormDefault="qualified">'
        f"{imported}{''.join(lines)}</xs:schema>",
        encoding="utf-8",
    )
