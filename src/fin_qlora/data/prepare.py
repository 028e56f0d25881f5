"""Raw files become splits on disk, written once, with a manifest that says how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .. import __version__
from ..errors import UsageError
from ..files import directory_in_place, sha256_file, sha256_json, write_json
from ..tasks import Split, SplitRule, Task
from .prepared import KIND, MANIFEST, read_manifest
from .table import Table, read_splits

_SCHEMA: Final = 1


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The folder with its manifest; ``fresh`` is False when it held just that already."""

    folder: Path
    manifest: dict[str, Any]
    fresh: bool


def prepare(
    task: Task,
    *,
    data_dir: Path | None,
    out: Path,
    rule: SplitRule | None = None,
    from_hub: bool = False,
    revision: str | None = None,
) -> Prepared:
    """Write ``<split>.parquet`` for every split there is, and ``manifest.json``.

    Each file has at least ``text`` and ``label``; labels are words. The same data, rule and
    version give the same bytes; a folder that holds them already is left alone. The folder is
    whole or absent, and one that we did not write is never replaced.

    Raises:
        UsageError: ``out`` holds something else.
        DataError and its kinds: what is wrong with which file.
    """
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and read_manifest(out) is None)):
        raise UsageError(
            f"'{out}' exists and was not written by this command.",
            fix="Give an empty or a new folder for --out.",
        )
    chosen = rule or task.split
    tables = read_splits(task, data_dir=data_dir, rule=chosen, from_hub=from_hub, revision=revision)
    manifest = _manifest(task, tables, rule=chosen)
    if _holds(out, manifest):
        return Prepared(folder=out, manifest=read_manifest(out) or {}, fresh=False)
    with directory_in_place(out) as folder:
        for split, table in tables.items():
            path = folder / f"{split}.parquet"
            _write(path, table)
            manifest["splits"][split]["sha256"] = sha256_file(path)
        write_json(folder / MANIFEST, manifest)
    return Prepared(folder=out, manifest=manifest, fresh=True)


def _manifest(task: Task, tables: Mapping[Split, Table], *, rule: SplitRule) -> dict[str, Any]:
    splits = {
        split: {
            "file": f"{split}.parquet",
            "rows": len(table.rows),
            "rows_sha256": sha256_json(table.rows),
            "partial": table.file.partial,
            "labels": _label_counts(task, table),
            "sources": [dataclasses.asdict(file) for file in table.files],
            "dropped": table.dropped,
            "changed": table.changed,
            "seen": table.seen,
            "notes": list(table.notes),
        }
        for split, table in tables.items()
    }
    return {
        "schema": _SCHEMA,
        "kind": KIND,
        "fin_qlora": __version__,
        "task": task.name,
        "licence": dataclasses.asdict(task.licence),
        "options": {option.name: option.value for option in task.options},
        "rule": dataclasses.asdict(rule) | {"group_by": list(rule.group_by)},
        "digest": sha256_json({split: entry["rows_sha256"] for split, entry in splits.items()}),
        "splits": splits,
    }


def _label_counts(task: Task, table: Table) -> dict[str, int]:
    if not task.labels:
        return {}
    return {name: sum(row["label"] == name for row in table.rows) for name in task.label_names}


def _holds(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Say whether a folder holds this manifest's splits already, none of them changed since."""
    there = read_manifest(folder) if folder.is_dir() else None
    if there is None:
        return False
    for split, entry in there["splits"].items():
        path = folder / f"{split}.parquet"
        if not path.is_file() or sha256_file(path) != entry.get("sha256"):
            return False
    bare = {
        split: {name: value for name, value in entry.items() if name != "sha256"}
        for split, entry in there["splits"].items()
    }
    return {**there, "splits": bare} == manifest


def _write(path: Path, table: Table) -> None:
    import pyarrow
    import pyarrow.parquet

    names = sorted({name for row in table.rows for name in row} - {"text", "label"})
    columns = {
        name: pyarrow.array([row.get(name, "") for row in table.rows], pyarrow.string())
        for name in ("text", "label", *names)
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
