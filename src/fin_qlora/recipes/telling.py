"""The plan and the scores of a run, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..training.checks.conditions import Conditions
from ..training.checks.preflight import Preflight


def plan_lines(checked: Preflight, conditions: Conditions) -> list[str]:
    """Return what will be trained on what, and how."""
    report = checked.report()
    lines = [line for task in report["tasks"] for line in _task_lines(task)]
    revision = f" at {checked.base.revision}" if checked.base.revision else ""
    lines.append(
        f"base {checked.base.id}{revision}: "
        + (
            f"weights {checked.base.digest[:12]}"
            if checked.base.digest
            else "weights not at hand, so their digest is not known"
        )
    )
    longest, positions = max(one.encoded.longest for one in checked.tasks), checked.positions
    if positions is not None and longest > positions:
        lines.append(f"the base was made for {positions} tokens; the longest row has {longest}")
    return [*lines, *conditions.lines()]


def _task_lines(report: dict[str, Any]) -> Iterator[str]:
    yield (
        f"task {report['task']}"
        + (" (synthetic data)" if report["synthetic"] else "")
        + (
            f": data for non-commercial use only ({report['licence']})"
            if report["noncommercial"]
            else ""
        )
    )
    for split in ("train", "evaluation"):
        table = report[split]
        counts = (
            ", ".join(f"{label} {n}" for label, n in table["labels"].items())
            if "labels" in table
            else f"{table['answers']} different answers"
        )
        dropped = "".join(f"; left out: {n} ({why})" for why, n in table["dropped"].items())
        partial = " (a part of the published rows)" if table["partial_file"] else ""
        yield f"{split}: {table['rows']} rows{partial}: {counts}{dropped}"
    yield (
        f"longest row {report['longest_row_tokens']} tokens, mean {report['mean_row_tokens']}; "
        f"{report['trained_tokens']} trained tokens"
        + (f"; {report['shots']} worked examples in every prompt" if report["shots"] else "")
    )
    for split, cut in report["shortened"].items():
        if cut["rows"]:
            yield (
                f"{split}: rows shortened: {cut['rows']}, by {cut['tokens']} tokens in all"
                + (f", {cut['facts']} distractor facts" if cut["facts"] else "")
            )


def score_lines(finished: Any) -> list[str]:
    """Return the scores of base and adapter for each task, and the time it took."""
    lines = []
    for name, (base, tuned) in finished.evaluations.items():
        several = f"{name}: " if len(finished.evaluations) > 1 else ""
        usual = "majority class" if "weighted_f1" in tuned.figures() else "most frequent answer"
        lines.append(
            f"{several}{tuned.scores.n} evaluation rows, {usual} {tuned.scores.majority:.4f}"
        )
        lines += [
            f"{side}  {_figures(one)}" for side, one in (("base   ", base), ("adapter", tuned))
        ]
    return [*lines, f"trained in {finished.cost.seconds:.1f} s"]


def _figures(evaluation: Any) -> str:
    figures = evaluation.figures()
    shown = {
        "accuracy": figures["accuracy"],
        "weighted F1": figures.get("weighted_f1"),
        **{name.replace("_", " "): value for name, value in figures.get("metrics", {}).items()},
    }
    told = "  ".join(f"{name} {value:.4f}" for name, value in shown.items() if value is not None)
    unfinished = figures.get("unfinished", 0)
    return told + (f"  ({unfinished} answers unfinished)" if unfinished else "")
