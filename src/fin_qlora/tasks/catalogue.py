"""All tasks by name: those that ship, those of installed packages, and a user's own file."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnknownNameError
from . import (
    entities,
    headline,
    knowledge,
    own,
    sentiment,
    synthetic,
    tagging,
    xbrl,
)
from .task import Task

_TASKS = {
    task.name: task
    for family in (sentiment, headline, entities, xbrl, tagging, knowledge, synthetic)
    for task in family.TASKS
}


def get(name: str | Path) -> Task:
    """Return the task of that name, or the one that a ``.yaml`` or ``.py`` file describes.

    Raises:
        UnknownNameError: there is none; the nearest name is offered.
        DataError: the file does not describe a task.
    """
    if own.is_file_name(name):
        return own.load(Path(name))
    if name in _TASKS:
        return _TASKS[str(name)]
    if str(name) in own.installed():
        return own.load_installed(str(name))
    raise UnknownNameError("task", str(name), names())


def names() -> list[str]:
    """Return the names of all tasks that ship or are installed, sorted."""
    return sorted({*_TASKS, *own.installed()})


def shipped() -> tuple[Task, ...]:
    """Return the tasks that ship with the library, family by family."""
    return tuple(_TASKS.values())
