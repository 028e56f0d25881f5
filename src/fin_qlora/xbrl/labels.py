"""What a filing calls its concepts: the labels of its own label linkbase, by role."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from lxml import etree

from .names import LINK, XLINK, XML

STANDARD: Final = "label"
DOCUMENTATION: Final = "documentation"
#: The role that a label has when it is made from the concept's own name.
FROM_NAME: Final = "name"

_LOC, _ARC, _LABEL = f"{{{LINK}}}loc", f"{{{LINK}}}labelArc", f"{{{LINK}}}label"
_LINK = f"{{{LINK}}}labelLink"
_HREF, _ROLE = f"{{{XLINK}}}href", f"{{{XLINK}}}role"
_NAME, _FROM, _TO = f"{{{XLINK}}}label", f"{{{XLINK}}}from", f"{{{XLINK}}}to"
_LANGUAGE = f"{{{XML}}}lang"
_TAIL = re.compile(r"\s\[(?:Axis|Member|Domain|Table|Line Items|Abstract|Roll Forward)\]$", re.I)
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_LONGEST = 1000

Labels = dict[str, dict[str, str]]


def read_labels(roots: Iterable[etree._Element]) -> Labels:
    """Return concept -> role -> English label of label linkbases.

    A concept is written ``prefix:Name``; a role is the last word of its address: ``label``,
    ``terseLabel``, ``documentation``. Where a role has two labels the first one stays.
    """
    found: Labels = {}
    for root in roots:
        for link in root.iter(_LINK):
            _read_link(link, found)
    return found


def _read_link(link: etree._Element, found: Labels) -> None:
    concepts = {loc.get(_NAME): _concept(loc.get(_HREF) or "") for loc in link.iterchildren(_LOC)}
    texts: dict[str | None, list[tuple[str, str]]] = {}
    for label in link.iterchildren(_LABEL):
        text = clean_label("".join(label.itertext()))
        if text and (label.get(_LANGUAGE) or "en").lower().startswith("en"):
            role = (label.get(_ROLE) or STANDARD).rpartition("/")[2]
            texts.setdefault(label.get(_NAME), []).append((role, text))
    for arc in link.iterchildren(_ARC):
        concept = concepts.get(arc.get(_FROM))
        for role, text in texts.get(arc.get(_TO), ()) if concept else ():
            found.setdefault(concept or "", {}).setdefault(role, text)


def _concept(address: str) -> str | None:
    """Read ``…/us-gaap-2023.xsd#us-gaap_Assets`` as ``us-gaap:Assets``."""
    prefix, line, name = address.rpartition("#")[2].partition("_")
    return f"{prefix}:{name}" if line and name else None


def clean_label(text: str) -> str:
    """Return a label on one line, of a bounded length, without the kind in brackets at its end."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST]).split())
    return _TAIL.sub("", line)


def name_in_words(name: str) -> str:
    """Return a concept's name as words: ``AssetsCurrent`` is "Assets Current"."""
    words = _WORDS.findall(re.sub(r"(Axis|Member|Domain)$", "", name) or name)
    return " ".join(words) or name


def label_of(
    name: str, labels: Mapping[str, Mapping[str, str]], *, role: str = STANDARD
) -> tuple[str, str]:
    """Return (label, role) of ``prefix:Name``; made from the name where the filing has none."""
    text = labels.get(name, {}).get(role)
    if text:
        return text, role
    return name_in_words(name.partition(":")[2] or name), FROM_NAME
