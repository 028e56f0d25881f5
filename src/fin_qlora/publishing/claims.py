"""Which scores may be claimed, how sure they are, and the file that each can be checked by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..evaluation.intervals import wilson
from ..evaluation.published import as_published
from ..tasks import Task, get, names

#: Where the per-row results lie, with the text of every row.
ROWS = "eval/"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """The per-row results of one side of a task, and their SHA-256."""

    name: str
    sha256: str


def dataset_of(task: Task | None) -> str | None:
    """Return the hub id of a task's data, or None: a path or an address is not one."""
    homepage = task.homepage if task else ""
    return homepage if _HUB_ID.fullmatch(homepage) else None


def own_split(task: Task | None) -> str:
    """Say how a task's test rows were drawn, where nobody has published which they are."""
    if task is None or task.synthetic:
        return ""
    parts = {form.part for form in task.source.forms if not form.reference}
    if "test" in parts | set(task.source.hub.parts if task.source.hub else ()):
        return ""
    return (
        f"test rows are a share of {task.split.test:g} drawn by fin-qlora "
        f"(seed {task.split.seed}), for none were published"
    )


def row_file(manifest: Mapping[str, Any], task: str, *, side: str = "adapter") -> RowFile | None:
    """Return the file that a task's scores can be computed from again; None if not published."""
    name = f"{ROWS}{task}-{side}.parquet"
    digest = manifest["files"].get(name)
    return RowFile(name=name, sha256=digest) if digest else None


def may_claim(evidence: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Say whether a task's scores are those of all rows of a published file.

    They are not where a file had fewer rows than were published or is another one, or where the
    run was told to evaluate so few rows at most as it did.
    """
    task = get(evidence["task"]) if evidence["task"] in names() else None
    files = evidence["data"]["files"]
    most = manifest["configuration"].get("evaluation_rows")
    cut = most is not None and evidence["evaluation"]["rows"] >= most
    partial = any(file.get("partial") for file in files)
    other = task is not None and not as_published(
        task, [(file["path"], file["sha256"], file["rows"]) for file in files]
    )
    return not cut and not partial and not other


def accuracy_interval(figures: Mapping[str, Any], *, rows: int) -> tuple[float, float]:
    """Return low and high end of the accuracy's 95 % interval.

    It is the one over clusters of rows where the manifest has it, else Wilson's for single rows.
    """
    told = figures.get("intervals", {}).get("accuracy")
    if told:
        found = told["cluster_bootstrap"]
        return found["low"], found["high"]
    single = wilson(round(figures["accuracy"] * rows), rows)
    return single.low, single.high


def interval_of(figures: Mapping[str, Any], name: str, *, rows: int, in_words: bool = False) -> str:
    """Return a metric's interval as ``0.871 to 0.938``; empty where it is not known.

    Args:
        name: of the metric, such as ``accuracy``.
        in_words: say what it is, to stand behind the metric's name.
    """
    if name == "accuracy":
        low, high = accuracy_interval(figures, rows=rows)
    elif name in figures.get("intervals", {}):
        told = figures["intervals"][name]["cluster_bootstrap"]
        low, high = told["low"], told["high"]
    else:
        return ""
    span = f"{low:.3f} to {high:.3f}"
    return f" (95 % interval {span}, n={rows:,})" if in_words else span
