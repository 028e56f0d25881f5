"""``fin-qlora tasks``: what can be trained for."""

from __future__ import annotations

import typer

from ..tasks import Task, get, names
from .output import HUMAN, OutputOption, table


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_group)
    group.command("ls")(ls)
    app.add_typer(group, name="tasks", help="List the tasks.")


def _group() -> None:
    """List the tasks."""


def ls(output: OutputOption = HUMAN) -> None:
    """List the tasks with their labels and the licence of their data."""
    tasks = [get(name) for name in names()]
    output.result(
        {
            "tasks": [
                {
                    "name": task.name,
                    "title": task.title,
                    "labels": list(task.label_names),
                    "answer": task.answer,
                    "licence": task.licence.name,
                    "noncommercial": task.licence.noncommercial,
                    "synthetic": task.synthetic,
                }
                for task in tasks
            ]
        },
        human=table(
            ("NAME", "WHAT IT IS", "ANSWERS", "LICENCE OF THE DATA"),
            [(t.name, t.title, _answers(t), t.licence.name) for t in tasks],
        ),
        quiet="\n".join(task.name for task in tasks),
    )


def _answers(task: Task) -> str:
    """Return the labels, or the kind of free answer."""
    return ", ".join(task.label_names) or f"a {task.answer}"
