"""Saved results as tables for a person: scores, judgements, differences."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .output import table

if TYPE_CHECKING:
    from ..evaluation.diff import Difference

_LONGEST_CELL = 44
_FEW = "* fewer than 20 clusters: their interval is narrower than it should be"
_Figures = Mapping[str, Any]


def scores(tasks: Sequence[_Figures]) -> str:
    """Return one line for each task and side, with intervals and baselines."""
    columns = (
        *("TASK", "SIDE", "ANSWERS", "ROWS", "CLUSTERS", "ACCURACY", "BY ROWS", "BY CLUSTERS"),
        *("WEIGHTED F1", "MACRO F1", "MAJORITY", "RANDOM", "INVALID"),
    )
    lines = [
        (
            one["task"],
            one["side"],
            one["answers"],
            f"{one['n']:,}",
            f"{one['n_effective']:,}{'*' if one['few_clusters'] else ''}",
            f"{one['accuracy']:.4f}",
            interval(one["intervals"]["accuracy"]["wilson"]),
            interval(one["intervals"]["accuracy"]["cluster_bootstrap"]),
            _share(one.get("weighted_f1")),
            _share(one.get("macro_f1")),
            f"{one['majority']:.4f}",
            _share(one.get("random")),
            f"{one['invalid']:,}",
        )
        for one in tasks
    ]
    told = _filled(columns, lines)
    return f"{told}\n\n{_FEW}" if any(one["few_clusters"] for one in tasks) else told


def details(task: _Figures) -> str:
    """Return what stands behind the scores of one task: its labels, or its outcomes."""
    name = " ".join(filter(None, (task["task"], task["side"], task["answers"])))
    if "outcomes" in task:
        return "\n\n".join(_free(task, name))
    labels = list(task["per_label"])
    columns = list(next(iter(task["confusion"].values())))
    rows = [
        (
            label,
            *(f"{task['per_label'][label][figure]:.4f}" for figure in ("precision", "recall")),
            f"{task['per_label'][label]['f1']:.4f}",
            f"{task['per_label'][label]['support']:,}",
            *(f"{task['confusion'][label][column]:,}" for column in columns),
        )
        for label in labels
    ]
    heads = ("TRUE LABEL", "PRECISION", "RECALL", "F1", "ROWS", *(f"AS {one}" for one in columns))
    told = [table(heads, rows, title=name)]
    if task["certainty"]:
        told.append(_certainty(task["certainty"]))
    return "\n\n".join(told)


def _free(task: _Figures, name: str) -> Iterator[str]:
    """Yield the outcomes, then the further figures and those of tags in and not in training."""
    rows = [(outcome, f"{count:,}") for outcome, count in task["outcomes"].items()]
    yield table(("OUTCOME", "ROWS"), rows, title=name)
    figures = [(metric, f"{share:.4f}") for metric, share in task["metrics"].items()]
    if figures:
        yield table(("FIGURE", "SHARE"), figures)
    parts = [
        (part, f"{found['n']:,}", _share(found["accuracy"]))
        for part, found in (task["by_seen"] or {}).items()
    ]
    if parts:
        yield table(("RIGHT ANSWER IN TRAINING", "ROWS", "ACCURACY"), parts)


def _certainty(found: _Figures) -> str:
    rows = [
        (
            f"{one['share']:.1%}",
            f"{one['n']:,}",
            f"{one['threshold']:.4f}",
            f"{one['accuracy']:.4f}",
        )
        for one in found["abstention"]
    ]
    curve = table(("ANSWERED", "ROWS", "FROM PROBABILITY", "ACCURACY"), rows)
    error, brier = found["expected_calibration_error"], found["brier"]
    return f"{curve}\n\nexpected calibration error {error:.4f}, Brier score {brier:.4f}"


def against_base(found: Sequence[_Figures]) -> str:
    """Return a sentence for each task on what the adapter adds to its base."""
    return "\n".join(
        f"{one['task']}: adapter less base {one['gain']:+.4f} {interval(one['interval'])}, "
        f"McNemar's p {p_value(one['mcnemar']['p_value'])}"
        + (f", {p_value(one['p_holm'])} by Holm" if len(found) > 1 else "")
        for one in found
    )


def judgements(found: Sequence[_Figures]) -> str:
    """Return a line for each scorer and habit of each task."""
    lines = []
    for one in found:
        strict = one["scorers"].get("strict")
        for name, judged in [*one["scorers"].items(), *one["habits"].items()]:
            scorer = name if name in one["scorers"] else f"strict + {name}"
            if judged is None:
                lines.append((one["task"], one["side"], scorer, "none", *[""] * 5))
                continue
            over = 0.0 if strict is None else 100 * (judged["accuracy"] - strict["accuracy"])
            lines.append(
                (
                    one["task"],
                    one["side"],
                    scorer,
                    f"{judged['scored']:,} of {judged['n']:,}",
                    _accuracy(judged),
                    _by_clusters(judged.get("intervals")),
                    _share(judged["weighted_f1"]),
                    f"{judged['invalid']:,}",
                    "" if strict is None or name == "strict" else f"{over:+.2f}",
                )
            )
    columns = ("TASK", "SIDE", "SCORER", "ROWS", "ACCURACY", "BY CLUSTERS")
    told = _filled((*columns, "WEIGHTED F1", "INVALID", "POINTS OVER STRICT"), lines)
    reasons = {
        f"{one['task']}, {name}: {why}" for one in found for name, why in one["not_judged"].items()
    }
    few = any(
        (judged or {}).get("intervals") and judged["intervals"]["few_clusters"]
        for one in found
        for judged in one["scorers"].values()
    )
    return "\n\n".join([told, *sorted(reasons), *([_FEW] if few else [])])


def _by_clusters(intervals: _Figures | None) -> str:
    if not intervals:
        return ""
    mark = "*" if intervals["few_clusters"] else ""
    return interval(intervals["accuracy"]["cluster_bootstrap"]) + mark


def _accuracy(judged: _Figures) -> str:
    low, high = judged["bounds"] or (judged["accuracy"],) * 2
    return f"{judged['accuracy']:.4f}" if low == high else f"{low:.4f} to {high:.4f}"


def differences(found: Sequence[Difference], adjusted: Mapping[str, float]) -> str:
    """Return one line for each task on how two runs differ."""
    several = len(found) > 1
    columns = ("TASK", "ROWS", "CLUSTERS", "A", "B", "B LESS A", "BY CLUSTERS")
    told = table(
        (*columns, "WRONG TO RIGHT", "RIGHT TO WRONG", "P", *(["P BY HOLM"] if several else [])),
        [
            (
                one.task,
                f"{one.n:,}",
                f"{one.interval.clusters:,}{'*' if one.few_clusters else ''}",
                f"{one.accuracy_a:.4f}",
                f"{one.accuracy_b:.4f}",
                f"{one.gain:+.4f}",
                interval(one.interval.to_dict()),
                f"{one.wrong_to_right:,}",
                f"{one.right_to_wrong:,}",
                p_value(one.test.p_value),
                *([p_value(adjusted[one.task])] if several else []),
            )
            for one in found
        ],
    )
    return f"{told}\n\n{_FEW}" if any(one.few_clusters for one in found) else told


def flips(found: Difference, first: int) -> str:
    """Return the first rows of a task that flipped; nothing where there are none."""
    if not found.flips or not first:
        return ""
    rows = [
        (
            str(one.row),
            "to right" if one.to_right else "to wrong",
            _cell(one.gold),
            _cell(one.a),
            _cell(one.b),
            _cell(" ".join(str(one.fields.get(n) or "") for n in ("entity", "question", "text"))),
        )
        for one in found.flips[:first]
    ]
    rest = len(found.flips) - len(rows)
    listing = table(("ROW", "FLIP", "RIGHT ANSWER", "A", "B", "TEXT"), rows, title=found.task)
    return f"{listing}\n… and {rest:,} further rows" if rest else listing


def interval(found: _Figures) -> str:
    """Return an interval as it is written."""
    return f"[{found['low']:.4f}, {found['high']:.4f}]"


def p_value(value: float) -> str:
    """Return a p-value as it is written."""
    if value < sys.float_info.min:
        return f"<{sys.float_info.min:.0e}"
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def _filled(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table without the columns in which no line has anything."""
    kept = [i for i in range(len(columns)) if any(line[i] for line in lines)]
    return table([columns[i] for i in kept], [[line[i] for i in kept] for line in lines])


def _cell(text: str | None) -> str:
    line = " ".join((text or "-").split())
    return line if len(line) <= _LONGEST_CELL else f"{line[: _LONGEST_CELL - 1]}…"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
