"""Which adapters are on a base, and which of them a row is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UnknownNameError, UsageError
from .attached import AttachedAdapter

if TYPE_CHECKING:
    from ...prompts import PromptContract

#: An adapter and the name of its task.
Route = tuple[AttachedAdapter, str]


class Roster:
    """The adapters on one base by their names, and their tasks by those that rows ask for."""

    def __init__(self, first: AttachedAdapter) -> None:
        self._attached = {first.name: first}
        self._routes: dict[str, Route] = {task: (first, task) for task in first.tasks}

    @property
    def first(self) -> AttachedAdapter:
        """Return the adapter that has been there longest."""
        return next(iter(self._attached.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the adapters."""
        return tuple(self._attached)

    @property
    def tasks(self) -> dict[str, PromptContract]:
        """Return the name of each task that can be asked for -> how an input becomes a prompt."""
        return {task: one.tasks[own] for task, (one, own) in self._routes.items()}

    def name_for(self, reference: str) -> str:
        """Return what an adapter is called for which no name is given: as shortly as may be."""
        short = name_of(reference)
        return reference if short in self._attached else short

    def check_free(self, name: str, tasks: Mapping[str, Any], *, prefix: str) -> None:
        """Refuse an adapter whose name or tasks are another one's already.

        Args:
            prefix: what will stand before the names of its tasks.

        Raises UsageError.
        """
        if name in self._attached:
            raise UsageError(
                f"There is an adapter '{name}' already.",
                fix="Give another name, by name= or --add NAME=ADAPTER.",
            )
        for task in tasks:
            if prefix + task in self._routes:
                raise UsageError(
                    f"The task '{prefix + task}' is another adapter's already.",
                    fix="Add it under a name, by name= or --add NAME=ADAPTER: it is then asked for "
                    f"as 'NAME/{task}'.",
                )

    def add(self, one: AttachedAdapter, *, prefix: str) -> None:
        """Take an adapter in; its tasks are asked for by ``prefix`` and their names."""
        self._attached[one.name] = one
        self._routes |= {prefix + task: (one, task) for task in one.tasks}

    def remove(self, name: str) -> AttachedAdapter:
        """Take an adapter out and return it.

        Raises UsageError when there is none of that name, or it is the only one.
        """
        if name not in self._attached:
            raise UnknownNameError("adapter on this base", name, self._attached)
        if len(self._attached) == 1:
            raise UsageError(f"'{name}' is the only adapter.", fix="Load another one instead.")
        going = self._attached.pop(name)
        self._routes = {task: at for task, at in self._routes.items() if at[0] is not going}
        return going

    def only_task(self) -> str:
        """Return the name of the task. Raises UsageError when there are several."""
        if len(self._routes) > 1:
            raise UsageError(
                f"The adapter has several tasks: {', '.join(self._routes)}.",
                fix="Say which one, by task= or --task.",
            )
        return next(iter(self._routes))

    def task_of(self, row: Mapping[str, Any] | str, task: str | None) -> str:
        """Return the name of the task that a row is asked for: ``task``, or what the row says.

        Raises UsageError when neither says which of several tasks it is, or there is no such one.
        """
        named = task or (None if isinstance(row, str) else row.get("task"))
        if named is None:
            return self.only_task()
        if named not in self._routes:
            raise UnknownNameError("task of this adapter", str(named), self._routes)
        return str(named)

    def route(self, row: Mapping[str, Any] | str, task: str | None) -> Route:
        """Return the adapter that a row is for, and that one's own name of the task."""
        return self._routes[self.task_of(row, task)]


def name_of(reference: str) -> str:
    """Return the last part of a reference, or of the folder that it means."""
    return Path(reference).name or Path(reference).resolve().name
