"""The unit of work of a build: one place in, its rows and what happened there out.

``build_part`` needs nothing but its arguments, so that any executor can map it over places.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, FinQloraError
from ..files import sha256_json
from .cross_check import cross_check
from .examples import examples
from .index import FilingIndex
from .places import Place, Refusal
from .reader import Bundle, Seen, bundles, look, read_bundle
from .record import Row
from .settings import BUILDER_VERSION, ROW_VERSION, BuildSettings
from .tables import read_tables


@dataclass(kw_only=True)
class FilingSummary:
    """One filing of a part: who reports, what was read, what was left out and why."""

    place: str
    identity: str
    sameness: str
    accession: str
    cik: str
    company: str
    form: str
    period_end: str
    filed: str
    split: str
    documents: list[dict[str, Any]]
    facts: int
    numbers: int
    rows: int
    rejected: dict[str, int]
    left_out: dict[str, int]
    dropped: dict[str, int]
    cross_check: dict[str, Any] | None = None
    keys: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Part:
    """All filings of one place with their rows, and what was refused there."""

    place: str
    filings: list[FilingSummary] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    rows: list[tuple[int, Row]] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        """Return the part as lines of JSON: a head, then ``[number of the filing, row]``."""
        head = {
            "place": self.place,
            "filings": [asdict(filing) for filing in self.filings],
            "refusals": [asdict(refusal) for refusal in self.refusals],
        }
        lines = [head, *self.rows]
        return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


def part_name(
    place: Place,
    seen: list[Seen],
    settings: BuildSettings,
    check: bool,
    origins: Mapping[str, Mapping[str, str]],
) -> str:
    """Return the file name of a part: it changes when its documents or the settings do."""
    shape = {
        "builder": BUILDER_VERSION,
        "rows": ROW_VERSION,
        "settings": settings.to_dict(),
        "cross_check": check,
        "origins": {key: dict(row) for key, row in origins.items()},
        "place": place.path,
        "documents": [[document.name, document.sha256] for document in seen],
    }
    return f"{sha256_json(shape)[:40]}.jsonl"


def build_part(
    root: Path,
    place: Place,
    settings: BuildSettings,
    *,
    origins: Mapping[str, Mapping[str, str]],
    check: bool = False,
    seen: list[Seen] | None = None,
) -> Part:
    """Make the rows of every filing in one place. What cannot be read becomes a refusal.

    Args:
        origins: what the list of filings says, by accession number or place.
        check: compare the facts with Arelle's reading.
        seen: the documents, where they were looked at before.
    """
    part = Part(place=place.path)
    try:
        found = look(root, place, limits=settings.limits) if seen is None else seen
        filings = bundles(place, found)
    except (FinQloraError, OSError) as error:
        part.refusals.append(Refusal(place.path, _reason(error)))
        return part
    for bundle in filings:
        try:
            _add(part, root, bundle, settings, origins, check)
        except (FinQloraError, OSError) as error:
            part.refusals.append(Refusal(bundle.name, _reason(error)))
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            # a filing that nobody foresaw must not end the build either
            kind = type(error).__name__
            part.refusals.append(Refusal(bundle.name, f"Unexpected {kind}: {_reason(error)}"))
    return part


def _add(
    part: Part,
    root: Path,
    bundle: Bundle,
    settings: BuildSettings,
    origins: Mapping[str, Mapping[str, str]],
    check: bool,
) -> None:
    filing = read_bundle(root, bundle, limits=settings.limits)
    if not filing.numbers:
        raise DataError(f"{bundle.name} has no numeric fact that can be read.")
    index = FilingIndex(filing, settings)
    origin = origins.get(filing.accession) or origins.get(filing.place) or {}
    tables = None
    if settings.mode == "inline_table":
        tables = read_tables(root, bundle, index.known, limits=settings.limits)
    rows, dropped = examples(index, settings, origin=origin, tables=tables)
    compared = cross_check(root, bundle, filing) if check else None
    cover = index.cover
    part.rows += [(len(part.filings), row) for row in rows]
    part.filings.append(
        FilingSummary(
            place=filing.place,
            identity=index.identity,
            sameness=index.sameness,
            accession=filing.accession,
            cik=cover.cik,
            company=cover.company,
            form=origin.get("form") or cover.form,
            period_end=str(cover.period.end or ""),
            filed=origin.get("filed", ""),
            split=origin.get("split", ""),
            documents=[asdict(document) for document in filing.documents],
            facts=len(filing.facts),
            numbers=len(filing.numbers),
            rows=len(rows),
            rejected=_sorted(filing.rejected),
            left_out=_sorted(index.left_out),
            dropped=_sorted(dropped),
            cross_check=None if compared is None else compared.to_dict(),
            keys=_keys(index) if settings.split_by != "company" else [],
        )
    )


def _keys(index: FilingIndex) -> list[str]:
    return sorted({one.key.digest for one in index.known})


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
