"""manifest.json: what went into an adapter, what it cost, how it scored, and its files' digests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import sha256_file, sha256_json, write_json
from .record import RECORD, read_record
from .schema import check, read_json_object

MANIFEST = "manifest.json"

#: Made after training, by push and by the hub: the card is derived from the manifest itself.
DERIVED = frozenset({MANIFEST, "README.md", ".gitattributes"})


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``manifest.json`` last: its ``files`` are filled with the digests of all other files.

    Returns what was written. Raises DataError when a field is missing or wrong; then nothing is
    written.
    """
    complete = {**manifest, "files": _digests(folder)}
    path = folder / MANIFEST
    check(complete, schema="manifest", place=str(path))
    write_json(path, complete)
    return complete


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json`` of an adapter folder. Raises MissingFileError or DataError."""
    return read_json_object(
        folder / MANIFEST,
        schema="manifest",
        fix="An adapter's evidence is written by training; without it, train again.",
    )


def verify_files(folder: Path) -> list[str]:
    """Return what differs between an adapter folder and its manifest; empty when all is well.

    Every file must be there, unchanged, and known; and the manifest, ``fin_qlora.json`` and the
    prompt contract in it must name the same task, base and digests. Raises MissingFileError or
    DataError when the manifest or the record cannot be read.
    """
    manifest = read_manifest(folder)
    expected: dict[str, str] = manifest["files"]
    found = _digests(folder)
    findings = [f"'{name}' is missing." for name in sorted(expected.keys() - found.keys())]
    findings += [
        f"'{name}' is not in the manifest." for name in sorted(found.keys() - expected.keys())
    ]
    findings += [
        f"'{name}' has changed since training."
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    if RECORD not in found:
        return findings if RECORD in expected else [*findings, f"'{RECORD}' is missing."]
    record = read_record(folder)
    findings += [
        f"'{name}' differs between {MANIFEST} and {RECORD}."
        for name in ("task", "base", "contract_digest")
        if manifest[name] != record[name]
    ]
    if sha256_json(record["contract"]) != record["contract_digest"]:
        findings.append(f"'contract' in {RECORD} does not have the digest that stands beside it.")
    return findings


def _digests(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file that training wrote."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return {name: sha256_file(folder / name) for name in names if name not in DERIVED}
