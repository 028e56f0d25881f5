"""What the commands of ``fin-qlora data`` take in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingFileError, UsageError
from ..tasks import SplitRule, Task, get, shipped

DataDir = Annotated[
    Path, typer.Option("--data-dir", metavar="DIR", help="The folder that holds the data.")
]
Tasks = Annotated[
    list[str] | None,
    typer.Argument(metavar="[TASK]...", help="Names, or .yaml and .py files; all if left out."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A parameter of the task, such as threshold=0.2."
    ),
]
Preset = Annotated[
    str, typer.Option(metavar="NAME", help="A named split of the task, such as paper.")
]
Seed = Annotated[int | None, typer.Option(help="Another seed, another division of the rows.")]
Share = Annotated[float | None, typer.Option(min=0, max=0.9, metavar="SHARE")]


def folder(data_dir: Path) -> Path:
    """Return the folder. Raises MissingFileError where there is none."""
    if not data_dir.is_dir():
        raise MissingFileError(
            f"The data directory '{data_dir}' does not exist.", fix="Check --data-dir."
        )
    return data_dir


def chosen(names: Sequence[str] | None, settings: Sequence[str] | None) -> list[Task]:
    """Return the named tasks, or all that ship, with the parameters that were set."""
    values = dict(_pair(text) for text in settings or ())
    if values and not names:
        raise UsageError("--set needs the name of a task.", fix="Name the task before it.")
    tasks = [get(name) for name in names] if names else list(shipped())
    return [task.with_options(values) for task in tasks]


def rule_of(
    task: Task,
    *,
    preset: str = "",
    seed: int | None = None,
    test: float | None = None,
    validation: float | None = None,
) -> SplitRule:
    """Return the task's split rule, or a preset, with what the flags change."""
    rule = task.split_rule(preset)
    if seed is not None:
        rule = dataclasses.replace(rule, seed=seed)
    if test is not None:
        rule = dataclasses.replace(rule, test=test)
    if validation is not None:
        rule = dataclasses.replace(rule, validation=validation)
    return rule


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"--set takes NAME=VALUE, not '{text}'.")
    return name, value


def counted(counts: dict[str, int]) -> str:
    """Return counts as a person reads them: ``3 empty text, 1 repeated``."""
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
