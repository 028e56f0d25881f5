"""Judging the saved results of a run: answers, clusters and intervals of one task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from ...errors import DataError, EmptyDatasetError, UnknownNameError
from ...prompts.answers import Grammar
from ...tasks import Task, get
from ..clusters import accuracy_intervals, clusters_of
from ..diff import Difference, Marked, difference
from .finlora import finlora
from .judged import Judged, Saved, saved_answers
from .paper import Deviation, paper
from .strict import strict

if TYPE_CHECKING:
    from ..results import TaskResults

Scorer: TypeAlias = Literal["strict", "paper", "finlora"]

_OF_FREE_ANSWERS: Final = ("output", "parsed", "outcome", "flags", "finished")


def task_of(results: TaskResults) -> Task | None:
    """Return the task that results belong to, or None for a user's own that is not known here."""
    try:
        return get(results.task)
    except UnknownNameError:
        return None


def check_rows(results: TaskResults) -> None:
    """Refuse rows that lack a column which a judgement takes, before there is half a report.

    Raises:
        EmptyDatasetError: there is no row.
        DataError: a column is missing.
    """
    if not results.rows:
        raise EmptyDatasetError(f"'{results.file}' has no row.")
    needed = ["gold", "predicted"] if results.labels else ["gold", *_OF_FREE_ANSWERS]
    if results.labels and results.answers == "both":
        needed.append("generated")
    missing = [name for name in needed if name not in results.rows[0]]
    if missing:
        raise DataError(
            f"'{results.file}' lacks the column {', '.join(missing)}.",
            fix="Evaluate again with --out.",
        )


def saved_of(results: TaskResults) -> Saved:
    """Return what was answered in a run of one task."""
    return saved_answers(
        results.task,
        labels=results.labels,
        grammar=cast(Grammar, results.grammar),
        rows=results.rows,
    )


def judge(
    results: TaskResults,
    scorer: Scorer,
    *,
    deviations: Collection[Deviation] = get_args(Deviation),
    batch_size: int = 8,
) -> Judged:
    """Judge the saved answers of one task.

    Raises:
        EmptyDatasetError: no row counts.
        UsageError: the scorer has no rule for such answers.
    """
    if scorer == "strict":
        return strict(saved_of(results))
    if scorer == "finlora":
        return finlora(saved_of(results))
    return paper(saved_of(results), deviations=deviations, batch_size=batch_size)


def intervals_of(results: TaskResults, judged: Judged, *, seed: int = 0) -> dict[str, Any] | None:
    """Return the intervals of a judgement's accuracy, over the rows that count.

    None where the accuracy counts parts of rows, which a judgement does not tell one by one.
    """
    counted = [
        (row, right)
        for row, right in zip(results.rows, judged.right, strict=True)
        if right is not None
    ]
    if len(counted) != judged.scored:
        return None
    return accuracy_intervals(
        task_of(results),
        [row for row, _ in counted],
        [right for _, right in counted],
        seed=seed,
    )


def compare(
    a: TaskResults, b: TaskResults, scorer: Scorer | None = None, *, seed: int = 0
) -> Difference:
    """Compare two runs of one task, as they were scored or by another scorer.

    Raises DataError when they do not have the same rows.
    """
    if set(a.labels) != set(b.labels):
        raise DataError(
            f"The runs of task '{a.task}' have the labels {', '.join(a.labels)} and "
            f"{', '.join(b.labels)}.",
            fix="Compare runs of one task.",
        )
    return difference(
        a.task,
        _marked(a, scorer),
        _marked(b, scorer),
        clusters=clusters_of(task_of(a), a.rows),
        seed=seed,
    )


def _marked(results: TaskResults, scorer: Scorer | None) -> Marked:
    """Mark rows by what the run itself made of them, or by a scorer over the saved answers."""
    rows: Sequence[Any] = results.rows
    if scorer is None:
        answers = [row["predicted"] if results.labels else row["parsed"] for row in rows]
        right = [
            row["predicted"] == row["gold"] if results.labels else row["outcome"] == "exact"
            for row in rows
        ]
        return Marked(rows=rows, answers=answers, right=right)
    # a difference is between all rows: none is left uncounted
    every: tuple[Deviation, ...] = tuple(one for one in get_args(Deviation) if one != "drop_tail")
    judged = judge(results, scorer, deviations=every)
    return Marked(rows=rows, answers=judged.read, right=[bool(one) for one in judged.right])
