"""Which recipe trains which tasks: labels to choose from, or answers to write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from ..tasks import Task, get
from .catalogue import recipe_names
from .settings import read_settings

_MODULES = "fin_qlora.recipes."


def classification_tasks(names: Sequence[str]) -> list[Task]:
    """Return the tasks of those names; each has labels.

    Raises UsageError for one whose answers are written, UnknownNameError for an unknown one.
    """
    tasks = [get(name) for name in names]
    for task in tasks:
        if not task.labels:
            raise UsageError(
                f"Task '{task.name}' has no labels: its answer is a {task.answer}.",
                fix="Train it with fin_qlora.recipes.xbrl; `fin-qlora train` does by itself.",
            )
    return tasks


def free_answer_tasks(names: Sequence[str]) -> list[Task]:
    """Return the tasks of those names, of which at least one has answers that are written.

    Raises UsageError when all of them have labels, UnknownNameError for an unknown one.
    """
    tasks = [get(name) for name in names]
    if all(task.labels for task in tasks):
        raise UsageError(
            f"The answers of {', '.join(names)} are labels.",
            fix="Train on them with fin_qlora.recipes.classification.",
        )
    return tasks


def module_of(recipe: str, flags: Sequence[str] = ()) -> str:
    """Return the module that runs a recipe: by its folder where it ships, else by its tasks.

    Args:
        flags: what stands behind the recipe on the command line; ``--task`` and ``--tasks`` win.
    """
    names = _tasks_in(flags)
    if not names and recipe in recipe_names():
        return _MODULES + recipe.split("/", 1)[0]
    settings = read_settings(recipe)
    names = names or settings.get("tasks") or [settings.get("task")]
    tasks = [get(name) for name in names if isinstance(name, str | Path) and name]
    return _MODULES + ("classification" if all(task.labels for task in tasks) else "xbrl")


def _tasks_in(flags: Sequence[str]) -> list[str]:
    names: list[str] = []
    inside = False
    for flag in flags:
        name, equals, value = flag.partition("=")
        if flag.startswith("--"):
            inside = name in ("--task", "--tasks")
            names += [value] if inside and equals else []
        elif inside:
            names.append(flag)
    return names
