"""``fin-qlora tasks``: what can be trained for."""

from __future__ import annotations

import typer

from ..tasks import Task, get, names
from .output import HUMAN, OutputOption, table
from .tasks_harness import export_harness


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_group)
    group.command("ls")(ls)
    group.command("export-harness", short_help="Write tasks for lm-evaluation-harness.")(
        export_harness
    )
    app.add_typer(group, name="tasks", help="List the tasks, or write them for another tool.")


def _group() -> None:
    """List the tasks, or write them for another tool."""


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
