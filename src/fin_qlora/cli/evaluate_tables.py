"""What an evaluation found, as tables for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .output import table

if TYPE_CHECKING:
    from ..evaluation import AnswerScores, Evaluation, LabelScores

_COLUMNS = ("FIGURE", "VALUE", "95 % INTERVAL")
_Row = tuple[str, str, str]


def shown(found: Evaluation) -> str:
    """Return one task's figures, with intervals and baselines."""
    rows = [*_about(found), *_scores(found), *_further(found), *_cost(found)]
    return table(_COLUMNS, rows, title=f"Task {found.task}")


def overview(found: Sequence[Evaluation]) -> str:
    """Return one line for each of several tasks."""
    lines = [
        (
            one.task,
            f"{one.scores.n:,}",
            f"{one.scores.accuracy:.4f}",
            _range(one.intervals["accuracy"]),
            f"{one.scores.majority:.4f}",
        )
        for one in found
    ]
    return table(("TASK", "ROWS", "ACCURACY", "95 % INTERVAL", "COMMONEST ANSWER"), lines)


def _about(found: Evaluation) -> Iterator[_Row]:
    about = found.about
    yield "model", f"{about['model']}, base in {about['quantization']}", ""
    yield "data", f"{about['data']['file']}, {which_rows(about)}", ""
    if about["shots"]:
        yield "worked examples", str(about["shots"]), ""
    yield "rows", f"{found.scores.n:,}", ""
    if found.overlong:
        yield "TOO LONG, counted wrong", f"{len(found.overlong):,}", ""


def which_rows(about: Mapping[str, Any]) -> str:
    """Say which rows were scored, so that no look at a few or at trained ones passes for a test."""
    what = "TRAINING ROWS" if about["split"] == "train" else f"{about['split']} rows"
    some = f" (the first {about['limit']} only)" if about["limit"] else ""
    return f"{what}{some}{' of a part of the published file' if about['partial_file'] else ''}"


def _scores(found: Evaluation) -> Iterator[_Row]:
    """Yield accuracy with its interval; F1 of labels, or metrics and outcomes of free answers."""
    from ..evaluation import LabelScores

    scores, intervals = found.scores, found.intervals
    yield "accuracy", f"{scores.accuracy:.4f}", _range(intervals["accuracy"])
    if isinstance(scores, LabelScores):
        yield from _labels(scores, intervals)
    else:
        yield from _answers(scores)
    if intervals["cluster"] != "row":
        few = ": TOO FEW for a sound interval" if intervals["few_clusters"] else ""
        yield "independent rows", f"{intervals['n_effective']:,} by {intervals['cluster']}{few}", ""


def _labels(scores: LabelScores, intervals: Mapping[str, Any]) -> Iterator[_Row]:
    yield "weighted F1", f"{scores.weighted_f1:.4f}", _range(intervals["weighted_f1"])
    yield "macro F1", f"{scores.macro_f1:.4f}", _range(intervals["macro_f1"])
    if scores.invalid:
        yield "invalid answers", f"{scores.invalid:,}", ""
    yield "majority class", f"{scores.majority:.4f}", ""
    yield "random labels", f"{scores.random:.4f}", ""


def _answers(scores: AnswerScores) -> Iterator[_Row]:
    yield "or rounded", f"{scores.accuracy_when_rounded:.4f}", ""
    for name, value in scores.metrics.items():
        yield name.replace("_f1", "_F1").replace("_", " "), f"{value:.4f}", ""
    yield "commonest answer", f"{scores.majority:.4f}", ""
    outcomes = ", ".join(f"{name} {n:,}" for name, n in scores.outcomes.items() if n)
    yield "outcomes", outcomes, ""
    yield "unfinished", f"{scores.unfinished:,}", ""
    for name, part in (scores.by_seen or {}).items():
        right = part["accuracy"]
        shown_as = "none" if right is None else f"{right:.4f} of {part['n']:,.0f}"
        yield f"answers {name} in training", shown_as, ""


def _further(found: Evaluation) -> Iterator[_Row]:
    if found.generated is not None and found.agreement is not None:
        yield "accuracy when written", f"{found.generated.accuracy:.4f}", ""
        yield "written, unreadable", f"{found.generated.invalid:,}", ""
        differ = found.agreement.differ
        numbers = ", ".join(map(str, differ[:8])) + (", …" if len(differ) > 8 else "")
        rows = f"; not on rows {numbers}" if differ else ""
        yield "both ways agree", f"{found.agreement.share:.4f}{rows}", ""
    if found.abstention is not None:
        part = found.abstention
        right = "none" if part.accuracy is None else f"{part.accuracy:.4f}"
        told = f"{right} of the {part.coverage:.4f} that are answered"
        yield f"abstaining below {part.threshold:g}", told, ""


def _cost(found: Evaluation) -> Iterator[_Row]:
    cost = found.cost
    yield "seconds per row", f"{found.seconds_per_example:.4f}", ""
    memory = f"{cost['peak_memory_bytes'] / 2**30:.2f} GiB ({cost['memory_kind']})"
    yield "peak memory", memory, ""
    if cost.get("adapter_bytes"):
        yield "adapter size", f"{cost['adapter_bytes'] / 2**10:,.0f} KiB", ""
    if cost["gpus"]:
        yield "GPU hours", f"{cost['gpu_hours']:.4f}", ""


def _range(intervals: Mapping[str, Any]) -> str:
    found = intervals["cluster_bootstrap"]
    return f"{found['low']:.4f} to {found['high']:.4f}"
