"""``fin-qlora data xbrl``: questions with checked answers, built from a folder of filings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import FindingsError
from .output import HUMAN, Output, OutputOption, table

if TYPE_CHECKING:
    from ..xbrl import BuildReport


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("xbrl", short_help="Build questions from filings.")(xbrl)


def xbrl(
    filings: Annotated[Path, typer.Option(metavar="DIR", help="The folder of filings and zips.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the questions go.")],
    seed: Annotated[int, typer.Option(help="Another seed, other questions.")] = 0,
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="Put an example into every instruction.")
    ] = False,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Compare every number with Arelle's reading.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Filings at a time; one a core if left out.")
    ] = None,
    runner: Annotated[
        Literal["processes", "ray"], typer.Option(help="What maps the work over the filings.")
    ] = "processes",
    ray_address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="A running Ray cluster, not one started for this."),
    ] = None,
    output: OutputOption = HUMAN,
) -> None:
    """Write train, validation and test questions, split by company, and report.json.

    A filing that cannot be read never ends the build: it is reported, and the exit code is 1.
    """
    import sys

    from tqdm import tqdm

    from ..xbrl import build

    with tqdm(disable=not sys.stderr.isatty(), desc="filings", leave=False) as bar:

        def move(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = build(
            filings,
            out,
            seed=seed,
            one_shot=one_shot,
            cross_check=cross_check,
            workers=workers,
            runner=runner,
            ray_address=ray_address,
            progress=move,
        )
    _show(report, output)
    if report.problems:
        first = report.problems[0]
        raise FindingsError(
            f"{len(report.problems)} filings were refused or differ; the first is {first.place}: "
            f"{first.reason}",
            fix="report.json names all of them.",
        )


def _show(report: BuildReport, output: Output) -> None:
    rows = [(split, f"{count:,}") for split, count in report.rows.items()]
    output.result(
        {"folder": str(report.folder), **report.details},
        human="\n".join(
            [
                table(("SPLIT", "QUESTIONS"), rows),
                "",
                f"{report.filings:,} filings read, {len(report.problems):,} refused; "
                f"all of it is in {report.folder / 'report.json'}",
            ]
        ),
        quiet=str(report.folder),
    )
