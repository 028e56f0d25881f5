"""``fin-qlora calibrate``: probabilities that are as often right as they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .output import HUMAN, OutputOption, table

if TYPE_CHECKING:
    from ..evaluation.calibrating import Calibrated


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("calibrate", short_help="Fit an adapter's probabilities on rows set apart.")(
        calibrate
    )


def calibrate(
    adapter: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter's folder.")],
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="May be given several times; all of the adapter's if left out."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that holds the tasks' files.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"],
        typer.Option(help="Rows that are neither trained on nor reported about."),
    ] = "validation",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in one forward pass at most.")] = 32,
    output: OutputOption = HUMAN,
) -> None:
    """Fit a temperature for each task and keep it in the adapter's folder.

    Answers stay as they are; only how sure the adapter says that it is changes. `predict` and
    `evaluate` use it from then on.
    """
    from ..evaluation.calibrating import calibrate_adapter
    from ..recipes.progress import rows_and_rate

    output.note(f"Loading {adapter}")
    found = calibrate_adapter(
        adapter,
        tasks=task or (),
        data_dir=data_dir,
        split=split,
        limit=limit,
        batch_size=batch_size,
        counting=rows_and_rate,
    )
    output.result(
        {
            "folder": str(adapter),
            "tasks": [
                {"task": one.task, "left_out": one.left_out, **one.calibration.to_dict()}
                for one in found
            ],
        },
        human=_told(found),
        quiet="\n".join(f"{one.calibration.temperature:.4f}" for one in found),
    )
    output.note(f"Wrote {adapter / 'fin_qlora.json'} and {adapter / 'manifest.json'}")


def _told(found: list[Calibrated]) -> str:
    columns = ("TASK", "ROWS", "LEFT OUT", "TEMPERATURE", "LOSS BEFORE", "LOSS AFTER")
    return table(
        columns,
        [
            (
                one.task,
                f"{one.calibration.rows:,}",
                f"{one.left_out:,}",
                f"{one.calibration.temperature:.3f}",
                f"{one.calibration.before:.4f}",
                f"{one.calibration.after:.4f}",
            )
            for one in found
        ],
    )
