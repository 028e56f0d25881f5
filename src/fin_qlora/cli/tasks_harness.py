"""``fin-qlora tasks export-harness``: the same questions for lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .output import HUMAN, OutputOption, table


def export_harness(
    names: Annotated[list[str], typer.Argument(metavar="TASK...", help="Names, or files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the pack is written.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Base or adapter that will be asked: its tokens are then the very same as here.",
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of MODEL.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that holds the tasks' files.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Which rows.")
    ] = "test",
    form: Annotated[
        Literal["plain", "chat"] | None, typer.Option(help="How to ask a base model.")
    ] = None,
    shots: Annotated[int, typer.Option(min=0, help="Worked examples that a base is shown.")] = 0,
    shots_seed: Annotated[int, typer.Option(help="Seed by which they are drawn.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    output: OutputOption = HUMAN,
) -> None:
    """Write tasks as lm-evaluation-harness reads them, with the rows of your data.

    The licence of the data goes with its rows.
    """
    from ..evaluation.harness import export_pack

    found = export_pack(
        names,
        out,
        model=model,
        revision=revision,
        data_dir=data_dir,
        split=split,
        form=form,
        shots=shots,
        shots_seed=shots_seed,
        limit=limit,
    )
    for one in found:
        if one.noncommercial:
            output.note(f"{one.path.name}: {one.licence} forbids commercial use of these rows.")
    output.result(
        {
            "tasks": [
                {
                    "name": one.name,
                    "path": str(one.path),
                    "rows": one.rows,
                    "licence": one.licence,
                    "exact": one.exact,
                }
                for one in found
            ]
        },
        human=table(
            ("TASK", "ROWS", "TOKENS", "LICENCE OF THE DATA"),
            [
                (one.name, f"{one.rows:,}", "ours" if one.exact else "any model's", one.licence)
                for one in found
            ],
            title=f"For: lm-eval --include_path {out} --tasks {','.join(o.name for o in found)}",
        ),
        quiet="\n".join(one.name for one in found),
    )
