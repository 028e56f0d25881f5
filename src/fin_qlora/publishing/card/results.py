"""The results of one task, base beside adapter, as the card's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..claims import interval_of, may_claim, row_file
from .asked import AskedTask
from .measures import METRICS


def results(one: AskedTask, manifest: Mapping[str, Any]) -> str:
    """Return what was scored, the table with intervals, and the files behind it."""
    found = one.evidence["evaluation"]
    made_up = " (synthetic data)" if one.evidence["synthetic"] else ""
    start = f"On {found['rows']:,} rows that were not trained on{made_up}; "
    told = _free(found, start) if one.free else _labels(found, start)
    return f"{told}\n\n{_footing(one, manifest)}"


def _models(found: Mapping[str, Any]) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return ("Base model", found["base"]), ("**This adapter**", found["adapter"])


def _labels(found: Mapping[str, Any], start: str) -> str:
    lines = [
        f"| {name} | {scores['accuracy']:.3f} | "
        f"{interval_of(scores, 'accuracy', rows=found['rows'])} | {scores['weighted_f1']:.3f} |"
        for name, scores in _models(found)
    ]
    return (
        f"{start}every label is scored by its likelihood, so that no answer is unreadable.\n\n"
        "| Model | Accuracy | 95 % interval | Weighted F1 |\n|---|---|---|---|\n"
        f"| Always the commonest label | {found['majority']:.3f} | | |\n" + "\n".join(lines)
    )


def _free(found: Mapping[str, Any], start: str) -> str:
    metrics = list(found["adapter"]["metrics"])
    outcomes = list(found["adapter"]["outcomes"])
    head = ["Model", "Accuracy", "95 % interval", *(METRICS[name] for name in metrics)]
    head += map(str.title, outcomes)
    rows = [
        ["Always the commonest answer", f"{found['majority']:.3f}"],
        *(
            [
                name,
                f"{scores['accuracy']:.3f}",
                interval_of(scores, "accuracy", rows=found["rows"]),
                *(f"{scores['metrics'][metric]:.3f}" for metric in metrics),
                *(f"{scores['outcomes'][outcome]:,}" for outcome in outcomes),
            ]
            for name, scores in _models(found)
        ),
    ]
    padded = [[*row, *[""] * (len(head) - len(row))] for row in rows]
    table = [head, ["---"] * len(head), *padded]
    return (
        f"{start}each answer was written, read strictly and compared with the right one. Only "
        "exact answers count; the last columns say what became of all: *none* could not be read, "
        "*scale* and *sign* are off by a power of ten or by their sign.\n\n"
        + "\n".join(f"| {' | '.join(row)} |" for row in table)
    )


def _footing(one: AskedTask, manifest: Mapping[str, Any]) -> str:
    """Say how the intervals were made, which rows were left out, and what to recompute from."""
    intervals = one.evidence["evaluation"]["adapter"].get("intervals")
    how = (
        f"Intervals draw whole clusters of rows (by {intervals['cluster']}: "
        f"{intervals['n_effective']:,} of them)."
        if intervals
        else "Intervals are Wilson's, for rows taken singly."
    )
    files = [row_file(manifest, one.name, side=side) for side in ("base", "adapter")]
    named = " and ".join(f"`{file.name}` (SHA-256 `{file.sha256[:16]}`)" for file in files if file)
    recompute = (
        f"Every figure can be computed again from {named}."
        if named
        else "The rows from which they can be computed again are not published."
    )
    claim = (
        ""
        if may_claim(one.evidence, manifest)
        else " The rows that were scored are not those of the whole published file, so no result "
        "is claimed on a hub."
    )
    return f"{how} {recompute}{claim}"
