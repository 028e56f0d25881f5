"""All scores of a run, computed again from its rows: figures, intervals and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..tasks.answers import Score
from .answers import ScoredAnswer, answer_scores
from .clusters import accuracy_intervals, label_intervals
from .metrics import label_scores
from .rescoring import differences, side_of
from .scorers.of_results import task_of
from .statistics import holm

if TYPE_CHECKING:
    from .results import TaskResults


def overview(results: Sequence[TaskResults]) -> dict[str, Any]:
    """Return the scores of every task, and of adapters how they differ from their base.

    As plain JSON values: ``tasks`` in the order given, twice where labels were both scored by
    their likelihood and written, and ``against_base`` with McNemar's p-value, corrected by Holm
    over the tasks in ``p_holm``.
    """
    tasks = [entry for one in results for entry in (_labels(one) if one.labels else [_free(one)])]
    sides = {(one.task, side_of(one)) for one in results}
    both = [one for one in results if {(one.task, "base"), (one.task, "adapter")} <= sides]
    compared = differences(both, None) if both else []
    adjusted = holm({one.task: one.test.p_value for one in compared})
    return {
        "tasks": tasks,
        "against_base": [{**one.to_dict(), "p_holm": adjusted[one.task]} for one in compared],
    }


def _labels(results: TaskResults) -> list[dict[str, Any]]:
    golds = [str(row["gold"]) for row in results.rows]
    probabilities = [row["scores"] for row in results.rows if row.get("scores")]
    both = results.answers == "both"
    found = []
    for answers, column in (
        ("likelihood" if both else results.answers, "predicted"),
        *([("generate", "generated")] if both else []),
    ):
        given = [row[column] for row in results.rows]
        sure = column == "predicted" and len(probabilities) == len(golds)
        scores = label_scores(
            golds,
            given,
            labels=results.labels,
            probabilities=probabilities if sure else None,
        )
        intervals = label_intervals(
            task_of(results), results.rows, golds, given, labels=results.labels
        )
        found.append(
            {
                "task": results.task,
                "side": side_of(results),
                "answers": answers,
                **asdict(scores),
                **_told(intervals),
            }
        )
    return found


def _free(results: TaskResults) -> dict[str, Any]:
    task = task_of(results)
    answers = [
        ScoredAnswer(
            gold=str(row["gold"]),
            output=row["output"] or "",
            finished=row["finished"] is not False,
            score=Score(row["outcome"], row["parsed"], tuple(row["flags"])),
        )
        for row in results.rows
    ]
    scores = answer_scores(answers, metrics=task.metrics if task else ())
    right = [one.score.correct for one in answers]
    return {
        "task": results.task,
        "side": side_of(results),
        "answers": results.answers,
        **asdict(scores),
        "by_seen": results.figures.get("scores", {}).get("by_seen"),
        "invalid": scores.invalid,
        **_told(accuracy_intervals(task, results.rows, right)),
    }


def _told(intervals: dict[str, Any]) -> dict[str, Any]:
    """Return intervals under one key, with what they say of the clusters beside it."""
    about = ("cluster", "n_effective", "few_clusters")
    return {
        **{name: intervals[name] for name in about},
        "intervals": {name: value for name, value in intervals.items() if name not in about},
    }
