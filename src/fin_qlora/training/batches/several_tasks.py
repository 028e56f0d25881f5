"""What must hold where several tasks are trained at once, so that none is lost or mistaken."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import DataError, UnknownNameError, UsageError, nearest
from ..checks.rows import first_row

if TYPE_CHECKING:
    from ..config import FinSFTConfig
    from ..trainer import FinSFTTrainer

#: The column that names the task of a row.
TASK = "task"


def task_column(dataset: Any) -> list[str]:
    """Return the task of each row; nothing where no column says so, and nothing of a stream."""
    if not hasattr(dataset, "__len__") or len(dataset) == 0 or TASK not in first_row(dataset):
        return []
    if hasattr(dataset, "column_names"):
        return list(dataset[TASK][:])
    return [dataset[i][TASK] for i in range(len(dataset))]


def tasks_of(dataset: Any) -> list[str]:
    """Return the names of the tasks in a data set, in the order in which they come first."""
    return list(dict.fromkeys(task_column(dataset)))


def check_packable(dataset: Any) -> None:
    """Raise UsageError when packing a data set would lose the names of its tasks."""
    if _may_have_several(dataset):
        raise UsageError(
            f"packing is on, and {_named(dataset)}: a packed sequence has rows of several tasks "
            "and loses their names.",
            fix="Set packing to false, or train one task at a time.",
        )


def check_collator(collator: Any, config: FinSFTConfig) -> None:
    """Raise UsageError when a collator of one's own would be given packed rows."""
    packed = "packing" if config.packing else "padding_free" if config.padding_free else ""
    if packed and collator is not None:
        raise UsageError(
            f"{packed} is on, and a data collator is given: packed rows need TRL's own.",
            fix=f"Set {packed} to false, or leave data_collator out.",
        )


def check_tasks(trainer: FinSFTTrainer) -> None:
    """Refuse tasks that the trainer's collator does not tell apart.

    Raises:
        DataError: the collator passes on no tasks, or does not know one of them.
        UnknownNameError: a weight is set for a task that there is none of.
    """
    known: Mapping[str, int] = getattr(trainer.data_collator, "task_ids", {})
    held_out = trainer.eval_dataset
    others = held_out.values() if isinstance(held_out, dict) else [held_out]
    for dataset in (trainer.train_dataset, *others):
        if dataset is None:
            continue
        if not known and _may_have_several(dataset):
            names = tasks_of(dataset) or ["..."]
            raise DataError(
                f"The data collator does not pass on the tasks, but {_named(dataset)}.",
                fix=f"Use data_collator=XBRLMultiTaskCollator(tokenizer, tasks={names}).",
            )
        for name in tasks_of(dataset) if known else ():
            if name not in known:
                raise DataError(
                    f"The data set has the task {name!r}, which the collator does not know.",
                    fix=hint(name, known),
                )
    weights_by_id(parsed_weights(trainer.args.task_weights), task_ids=known)


def hint(name: Any, known: Mapping[str, int]) -> str:
    """Return what to do about a task that is not known."""
    close = nearest(str(name), known)
    return f"Did you mean '{close}'?" if close else f"Known: {', '.join(known)}."


def parsed_weights(given: Mapping[str, Any] | str | None) -> dict[str, float]:
    """Return the weights by task of a mapping, or of a JSON object as the command line has it.

    Raises:
        UsageError: it is neither, or a weight is no positive finite number.
    """
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError:
            given = [given]  # type: ignore[assignment]
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(
            "task_weights is no mapping from tasks to weights.",
            fix="""Write --task_weights '{"xbrl_tag": 1, "xbrl_value": 2}', or a YAML mapping.""",
        )
    for name, weight in given.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not math.isfinite(weight) or weight <= 0:
            raise UsageError(
                f"task_weights has {weight!r} for '{name}'.", fix="Use numbers greater than 0."
            )
    return {str(name): float(weight) for name, weight in given.items()}


def weights_by_id(weights: Mapping[str, float], *, task_ids: Mapping[str, int]) -> list[float]:
    """Return the weight of each task in the order of its id; 1 where none is set.

    Raises:
        UnknownNameError: a weight is set for a task that there is none of.
    """
    for name in weights:
        if name not in task_ids:
            raise UnknownNameError("task", name, task_ids)
    ordered = sorted(task_ids, key=lambda name: task_ids[name])
    return [weights.get(name, 1.0) for name in ordered]


def _may_have_several(dataset: Any) -> bool:
    if hasattr(dataset, "__len__"):
        return len(tasks_of(dataset)) > 1
    return TASK in first_row(dataset)


def _named(dataset: Any) -> str:
    names = tasks_of(dataset)
    if not names:
        return f"the stream has a column '{TASK}'"
    return f"the data set has the tasks {', '.join(names)}"
