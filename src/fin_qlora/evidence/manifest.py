"""manifest.json: what went into an adapter, what it cost, how it scored, and its files' digests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import sha256_file, sha256_json, write_json
from .record import RECORD, read_record, tasks_by_name
from .schema import check, read_json_object

MANIFEST = "manifest.json"

#: Made after training, by push and by the hub: the card is derived from the manifest itself.
DERIVED = frozenset({MANIFEST, "README.md", ".gitattributes"})

#: The same of what push writes for a hub's leaderboards.
DERIVED_FOLDER = ".eval_results/"


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``manifest.json`` last: its ``files`` are filled with the digests of all other files.

    Returns what was written. Raises DataError when a field is missing or wrong; then nothing is
    written.
    """
    complete = {**manifest, "files": _digests(folder)}
    path = folder / MANIFEST
    check(complete, schema="manifest", place=str(path))
    tasks_by_name(complete, place=str(path))
    write_json(path, complete)
    return complete


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read ``manifest.json`` of an adapter folder. Raises MissingFileError or DataError."""
    manifest = read_json_object(
        folder / MANIFEST,
        schema="manifest",
        fix="An adapter's evidence is written by training; without it, train again.",
    )
    tasks_by_name(manifest, place=str(folder / MANIFEST))
    return manifest


def verify_files(folder: Path) -> list[str]:
    """Return what differs between an adapter folder and its manifest; empty when all is well.

    Every file must be there, unchanged, and known; and the manifest, ``fin_qlora.json`` and the
    prompt contracts in it must name the same tasks, base and digests. Raises MissingFileError or
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
    return [*findings, *_disagreements(manifest, record)]


def _disagreements(manifest: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """Return what manifest and record say differently, and contracts without their digest."""
    found = [] if manifest["base"] == record["base"] else [_differs("'base'")]
    named, recorded = (tasks_by_name(part, place="") for part in (manifest, record))
    if list(named) != list(recorded):
        return [*found, _differs("'tasks'")]
    for name, task in recorded.items():
        of_task = f"of task '{name}'"
        if task["contract_digest"] != named[name]["contract_digest"]:
            found.append(_differs(f"'contract_digest' {of_task}"))
        if sha256_json(task["contract"]) != task["contract_digest"]:
            found.append(
                f"'contract' {of_task} in {RECORD} does not have the digest that stands beside it."
            )
    return found


def _differs(what: str) -> str:
    return f"{what} differs between {MANIFEST} and {RECORD}."


def _digests(folder: Path) -> dict[str, str]:
    """Return relative path -> SHA-256 of every file that training wrote."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return {name: sha256_file(folder / name) for name in names if not _is_derived(name)}


def _is_derived(name: str) -> bool:
    return name in DERIVED or name.startswith(DERIVED_FOLDER)
