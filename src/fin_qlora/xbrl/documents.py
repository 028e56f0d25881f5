"""Bytes into trees without trusting them: no entities, no document types, no network."""

from __future__ import annotations

import re
from typing import Literal

from lxml import etree

from ..errors import DataError
from .limits import Limits
from .names import INLINE, LINK, XBRLI

Kind = Literal["instance", "inline", "linkbase", "metalinks", "other"]

_BOM = b"\xef\xbb\xbf"
_DECLARATION = re.compile(rb"<\?xml[^>]{0,400}?encoding\s{0,9}=\s{0,9}[\"']([A-Za-z0-9._-]{1,40})")
_HTML_DOCTYPE = re.compile(rb"<!DOCTYPE\s{1,9}html\s{0,9}>", re.IGNORECASE)
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]{0,60}:)?([A-Za-z_][\w.-]{0,60})[\s>/]")
_SCHEMA = re.compile(rb"<(?:[A-Za-z_][\w.-]{0,60}:)?schemaRef\s([^>]{0,2000})>")
_HREF = re.compile(rb"[\w.-]{1,60}:href\s{0,9}=\s{0,9}[\"']([^\"']{1,500})[\"']")
_ENCODINGS = frozenset(
    (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"iso-8859-15", b"windows-1252")
)
_MARKS = (XBRLI.encode(), *(name.encode() for name in INLINE))


def clean_start(content: bytes) -> bytes:
    """Drop a byte order mark and the blank lines that cutting a file out of another leaves."""
    return content.removeprefix(_BOM).lstrip()


def kind_of(content: bytes) -> Kind:
    """Say what a file is by its root element and namespaces, without parsing it."""
    if content[:1] == b"{":
        return "metalinks" if b'"instance"' in content else "other"
    head = _prolog_end(content)
    root = _ROOT.match(content, head) if head is not None else None
    name = root[2] if root else b""
    if name == b"xbrl" and _MARKS[0] in content:
        return "instance"
    if name == b"linkbase" and LINK.encode() in content:
        return "linkbase"
    if any(mark in content for mark in _MARKS[1:]):
        return "inline"
    if name == b"schema" and b"labelArc" in content:
        return "linkbase"
    if root is None and _claims_to_be_one(content):
        return "instance"  # the parser says what is wrong with it
    return "other"


def schema_of(content: bytes) -> str:
    """Return the file name of the schema that a document refers to, empty where there is none.

    The reference is a name to group documents by; it is never opened.
    """
    found = _SCHEMA.search(content)
    link = _HREF.search(found[1]) if found else None
    return link[1].decode("utf-8", "replace").rpartition("/")[2] if link else ""


def parse(content: bytes, *, name: str, limits: Limits) -> etree._Element:
    """Parse a document of a filing into a tree.

    Raises:
        DataError: it is too large, encoded so that it cannot be checked, has a document type or
            entities, nests deeper than any filing does, or is not well-formed.
    """
    content = check(content, name=name, limits=limits)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=True,  # text blocks pass the small limits; size and depth are bounded here
        remove_comments=True,
        remove_pis=True,
        recover=False,
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DataError(f"{name} is not well-formed XML: {_first_line(error)}.") from None
    info = root.getroottree().docinfo
    if info.internalDTD is not None and info.doctype.lower() != "<!doctype html>":
        raise DataError(f"{name} has a document type declaration, which filings may not have.")
    return root


def check(content: bytes, *, name: str, limits: Limits) -> bytes:
    """Return the bytes to parse, or raise DataError when they must not be parsed."""
    if len(content) > limits.file_bytes:
        raise DataError(f"{name} has {len(content):,} bytes; at most {limits.file_bytes:,} pass.")
    content = clean_start(content)
    if b"\x00" in content[:1000] or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{name} is not in an encoding that EDGAR accepts, such as UTF-8.")
    declared = _DECLARATION.match(content)
    if declared and declared[1].lower() not in _ENCODINGS:
        encoding = declared[1].decode("ascii")
        raise DataError(f"{name} declares the encoding {encoding}; use UTF-8.")
    end = _prolog_end(content)
    prolog = content if end is None else content[:end]
    if b"<!ENTITY" in prolog:
        raise DataError(f"{name} declares entities, which filings may not do.")
    allowed = limits.allow_html_doctype and _HTML_DOCTYPE.search(prolog) is not None
    if b"<!DOCTYPE" in prolog.upper() and not allowed:
        raise DataError(f"{name} has a document type declaration, which filings may not have.")
    return content


def _prolog_end(content: bytes) -> int | None:
    """Return where the root element starts: after declaration, comments and document type."""
    position = 0
    while True:
        position = content.find(b"<", position)
        if position < 0:
            return None
        if content.startswith(b"<?", position):
            close, width = content.find(b"?>", position), 2
        elif content.startswith(b"<!--", position):
            close, width = content.find(b"-->", position), 3
        elif content.startswith(b"<!", position):
            subset = content.find(b"[", position)
            close, width = content.find(b">", position), 1
            if 0 <= subset < close:
                close, width = content.find(b"]", subset), 1
        else:
            return position
        if close < 0:
            return None
        position = close + width


def _claims_to_be_one(content: bytes) -> bool:
    """Say whether a file without a readable root names an XBRL namespace in any encoding."""
    wide = (mark.decode() for mark in _MARKS)
    spelled = (mark.encode(code) for mark in wide for code in ("utf-16-le", "utf-16-be"))
    return any(mark in content for mark in (*_MARKS, *spelled))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")[:200]
