"""How much of a file is read before it is taken for an attack."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what one filing may hold; a filing beyond them is refused, not cut.

    The defaults are several times what the largest filings on EDGAR need. Sizes are in bytes.

    Args:
        allow_html_doctype: accept a bare ``<!DOCTYPE html>``; no other document type is ever
            accepted. EDGAR's inline documents have none.
    """

    file_bytes: int = 64 * 2**20
    filing_bytes: int = 400 * 2**20
    facts: int = 200_000
    contexts: int = 50_000
    units: int = 5_000
    text_characters: int = 5_000_000
    all_text_characters: int = 50_000_000
    continuations: int = 10_000
    digits: int = 60
    scale: int = 30
    archive_members: int = 500
    archive_bytes: int = 2**30
    archive_ratio: int = 200
    allow_html_doctype: bool = False
