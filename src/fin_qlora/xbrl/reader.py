"""From the documents of a place to filings with their facts and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import DataError, EmptyDatasetError
from .collector import Collector
from .contexts import Scope
from .documents import Kind, kind_of, parse, schema_of
from .facts import Document, Filing
from .inline import read_inline
from .instance import read_instance
from .labels import Labels, read_labels
from .limits import Limits
from .metalinks import read_metalinks
from .names import Prefixes
from .places import Opened, Place, accession_of

DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A document that was looked at, not parsed: what it is and which filing it belongs to."""

    name: str
    kind: Kind
    schema: str
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The documents that make one filing, and those that hold its labels."""

    place: Place
    schema: str
    documents: tuple[Seen, ...]
    labels: tuple[Seen, ...]

    @property
    def name(self) -> str:
        """Return how messages call this filing: its place and its first document."""
        return f"{self.place.path}/{self.documents[0].name}"


def look(root: Path, place: Place, *, limits: Limits = DEFAULT_LIMITS) -> list[Seen]:
    """Look at every document of a place. Raises DataError where the place must not be read."""
    seen = []
    with Opened(root, place, limits=limits) as opened:
        for name, content in opened.documents():
            kind = kind_of(content)
            seen.append(
                Seen(
                    name=name,
                    kind=kind,
                    schema=schema_of(content) if kind in ("instance", "inline") else "",
                    sha256=hashlib.sha256(content).hexdigest(),
                    size=len(content),
                )
            )
    return seen


def bundles(place: Place, seen: Sequence[Seen]) -> list[Bundle]:
    """Sort documents into filings by the schema that they refer to.

    Within one filing the SEC's extraction (``…_htm.xml``) is taken first, then an instance, then
    the inline documents, all of them. A document that refers to no schema belongs to the only
    filing there is.

    Raises:
        DataError: a document refers to no schema and there are several filings.
    """
    sources = [document for document in seen if document.kind in ("instance", "inline")]
    schemas = sorted({document.schema for document in sources if document.schema})
    labels = [document for document in seen if document.kind == "linkbase"]
    links = [document for document in seen if document.kind == "metalinks"]
    found = []
    for schema in schemas or [""] * bool(sources):
        own = [d for d in sources if d.schema == schema or (not d.schema and len(schemas) <= 1)]
        extracted = [d for d in own if d.kind == "instance" and d.name.endswith("_htm.xml")]
        classic = [d for d in own if d.kind == "instance"]
        chosen = extracted[:1] or classic[:1] or own
        stem = schema.rpartition(".")[0]
        named = [d for d in labels if stem and d.name.startswith(stem)]
        found.append(
            Bundle(
                place=place,
                schema=schema,
                documents=tuple(chosen),
                labels=tuple(named if len(schemas) > 1 else [*(named or labels), *links]),
            )
        )
    lost = [d.name for d in sources if not d.schema] if len(schemas) > 1 else []
    if lost:
        raise DataError(
            f"{place.path}: '{lost[0]}' refers to no schema, and there are {len(schemas)} filings "
            "that it could belong to.",
            fix="Give each filing a folder of its own.",
        )
    return found


def read_bundle(
    root: Path,
    bundle: Bundle,
    *,
    limits: Limits = DEFAULT_LIMITS,
    text_blocks: bool = False,
) -> Filing:
    """Read the facts and labels of one filing.

    Raises:
        DataError: a document is hostile, damaged or beyond the limits; the message names it.
    """
    size = sum(document.size for document in (*bundle.documents, *bundle.labels))
    if size > limits.filing_bytes:
        raise DataError(
            f"{bundle.name}: the filing has {size:,} bytes; at most {limits.filing_bytes:,} pass."
        )
    prefixes = Prefixes()
    collector = Collector(Scope(prefixes, limits), text_blocks=text_blocks)
    with Opened(root, bundle.place, limits=limits) as opened:
        trees = [
            (seen.name, parse(opened.read(seen.name), name=seen.name, limits=limits))
            for seen in bundle.documents
        ]
        if bundle.documents[0].kind == "instance":
            collector.document = trees[0][0]
            read_instance(trees[0][1], collector)
        else:
            read_inline(trees, collector)
        del trees
        labels, used = _labels(opened, bundle, limits)
    return Filing(
        place=bundle.place.path,
        accession=accession_of(bundle.place.path),
        schema=bundle.schema,
        documents=(
            *(
                Document(name=d.name, kind=_kind(d), sha256=d.sha256, size=d.size)
                for d in bundle.documents
            ),
            *(Document(name=d.name, kind="labels", sha256=d.sha256, size=d.size) for d in used),
        ),
        facts=tuple(collector.facts),
        namespaces=prefixes.namespaces,
        labels=labels,
        rejected=collector.rejected,
    )


def read_filings(
    root: Path, place: Place, *, limits: Limits = DEFAULT_LIMITS, text_blocks: bool = False
) -> Iterator[Filing]:
    """Read every filing of a place, one after the other. Raises DataError as ``read_bundle``."""
    for bundle in bundles(place, look(root, place, limits=limits)):
        yield read_bundle(root, bundle, limits=limits, text_blocks=text_blocks)


def read_filing(path: str | Path, *, text_blocks: bool = False) -> Filing:
    """Read the one filing in a folder, an EDGAR zip or a single document.

    Args:
        path: a folder of loose documents, a zip, or a document whose folder holds only that filing.
        text_blocks: read the text of text blocks too.

    Raises:
        EmptyDatasetError: there is no filing.
        DataError: there are several, or the filing cannot be read.
    """
    path = Path(path).resolve()
    if path.is_dir():
        root, place = path.parent, Place(path.name, "folder")
    elif path.suffix.lower() == ".zip":
        root, place = path.parent, Place(path.name, "archive")
    else:
        root, place = path.parent.parent, Place(path.parent.name, "folder")
    found = list(read_filings(root, place, text_blocks=text_blocks))
    if not found:
        raise EmptyDatasetError(f"'{path}' holds no XBRL document.")
    if len(found) > 1:
        raise DataError(
            f"'{path}' holds {len(found)} filings.", fix="Give each a folder of its own."
        )
    return found[0]


def _labels(opened: Opened, bundle: Bundle, limits: Limits) -> tuple[Labels, list[Seen]]:
    """Read the labels, the linkbase's before MetaLinks.json's; return what held any."""
    labels: Labels = {}
    used = []
    for seen in sorted(bundle.labels, key=lambda seen: (seen.kind == "metalinks", seen.name)):
        if seen.kind == "metalinks":
            found = read_metalinks(opened.read(seen.name), name=seen.name)
        elif seen.name.lower().endswith(("_lab.xml", ".xsd")):
            found = read_labels([parse(opened.read(seen.name), name=seen.name, limits=limits)])
        else:
            continue
        if found:
            used.append(seen)
        for concept, roles in found.items():
            labels.setdefault(concept, {}).update(
                {role: text for role, text in roles.items() if role not in labels[concept]}
            )
    return labels, used


def _kind(seen: Seen) -> Literal["instance", "extracted", "inline"]:
    if seen.kind == "inline":
        return "inline"
    return "extracted" if seen.name.endswith("_htm.xml") else "instance"
