"""``manifest.csv``: what the holder of the filings knows of them and the filings do not say."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import DataError
from .places import accession_of
from .settings import SPLITS

NAME: Final = "manifest.csv"
_COLUMNS = ("accession", "place", "cik", "ticker", "form", "filed", "split")


def read_filing_list(root: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the rows of ``manifest.csv`` by accession number, or by ``place`` where they name one.

    Returns nothing where there is no such file.

    Raises:
        DataError: a column or a split is not known, or a row names no filing.
    """
    path = root / NAME
    if not path.is_file() or path.is_symlink():
        return {}
    rows: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        unknown = sorted(set(reader.fieldnames or ()) - set(_COLUMNS))
        if unknown:
            raise DataError(
                f"{NAME} has the columns {unknown}.", fix=f"Known: {', '.join(_COLUMNS)}."
            )
        for number, row in enumerate(reader, start=2):
            said = {name: (text or "").strip() for name, text in row.items()}
            key = accession_of(said.get("accession", "")) or said.get("place", "")
            if not key:
                raise DataError(f"{NAME}, line {number}: neither accession nor place is given.")
            if said.get("split") and said["split"] not in SPLITS:
                raise DataError(
                    f"{NAME}, line {number}: there is no split '{said['split']}'.",
                    fix=f"Use one of {', '.join(SPLITS)}.",
                )
            rows[key] = said
    return rows
