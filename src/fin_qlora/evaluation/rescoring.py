"""Judging whole runs again by other rules, and comparing two of them task by task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from ..errors import DataError, EmptyDatasetError, UsageError
from .diff import Difference
from .scorers.of_results import Scorer, compare, intervals_of, judge
from .scorers.paper import Deviation

if TYPE_CHECKING:
    from .results import TaskResults

#: What a habit may change.
_FIGURES: Final = ("accuracy", "weighted_f1", "scored", "invalid")


def side_of(results: TaskResults) -> str:
    """Return ``base`` or ``adapter`` where a run holds both, else nothing."""
    return str(results.about.get("side") or "")


def rescored(
    results: TaskResults, *, scorer: Scorer | None = None, batch_size: int = 8
) -> dict[str, Any]:
    """Judge one task's saved answers, as plain JSON values.

    ``scorers`` has what each scorer makes of them with the intervals of its accuracy. Without
    ``scorer`` these are all, with None for one that cannot judge them and why in ``not_judged``,
    and ``habits`` has what the strict scorer would say if it had just one of the paper's habits,
    where that changes anything.

    Raises:
        EmptyDatasetError: no row counts.
        UsageError: ``scorer`` has no rule for such answers.
    """
    names: Sequence[Scorer] = get_args(Scorer) if scorer is None else (scorer,)
    judged: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in names:
        try:
            one = judge(results, name, batch_size=batch_size)
        except (UsageError, EmptyDatasetError) as error:
            if scorer is not None or name == "strict":
                raise
            judged[name], reasons[name] = None, error.message
        else:
            judged[name] = {**one.to_dict(), "intervals": intervals_of(results, one)}
    habits = {}
    if scorer is None:
        for habit in get_args(Deviation):
            try:
                one = judge(results, "paper", deviations=(habit,), batch_size=batch_size)
            except (UsageError, EmptyDatasetError):  # told above
                continue
            figures = {**one.to_dict(), "scorer": "strict", "habit": habit}
            if any(_differ(figures[name], judged["strict"][name]) for name in _FIGURES):
                habits[habit] = figures
    return {
        "task": results.task,
        "side": side_of(results),
        "scorers": judged,
        "not_judged": reasons,
        "habits": habits,
    }


def _differ(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is not other
    return not math.isclose(one, other, abs_tol=1e-9)


def differences(
    a: Sequence[TaskResults],
    b: Sequence[TaskResults] | None,
    *,
    scorer: Scorer | None = None,
    names: tuple[str, str] = ("A", "B"),
) -> list[Difference]:
    """Compare two runs on every task that both have; without ``b``, A's adapter with its base.

    Raises DataError when they share no task, or not the same rows of one.
    """
    before, after = _two_runs(a, b)
    shared = [task for task in before if task in after]
    if not shared:
        raise DataError(
            f"'{names[0]}' does not hold results of both base and adapter."
            if b is None
            else f"'{names[0]}' and '{names[1]}' have no task in common.",
            fix="Name two runs over the same rows.",
        )
    return [compare(before[task], after[task], scorer) for task in shared]


def not_shared(a: Sequence[TaskResults], b: Sequence[TaskResults] | None) -> list[str]:
    """Return the tasks that ``differences`` leaves out, since only one of the two has them."""
    before, after = _two_runs(a, b)
    return sorted(before.keys() ^ after.keys())


def _two_runs(
    a: Sequence[TaskResults], b: Sequence[TaskResults] | None
) -> tuple[dict[str, TaskResults], dict[str, TaskResults]]:
    """Return what is compared, by task."""
    if b is not None:
        return _one_a_task(a), _one_a_task(b)
    base, adapter = ([one for one in a if side_of(one) == side] for side in ("base", "adapter"))
    return {one.task: one for one in base}, {one.task: one for one in adapter}


def _one_a_task(results: Sequence[TaskResults]) -> dict[str, TaskResults]:
    """Return one result for each task; of base and adapter the adapter's."""
    found: dict[str, TaskResults] = {}
    for one in results:
        if one.task not in found or side_of(one) == "adapter":
            found[one.task] = one
    return found
