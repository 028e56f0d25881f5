"""``fin-qlora results``: look at what a run left, judge it again, compare it with another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import UsageError
from . import results_tables as tables
from .output import HUMAN, OutputOption

if TYPE_CHECKING:
    from ..evaluation.diff import Difference
    from ..evaluation.results import TaskResults

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="What `evaluate` wrote, an adapter's folder, or one .parquet of rows."
    ),
]
TaskName = Annotated[
    str | None, typer.Option("--task", metavar="NAME", help="Only this task.", show_default=False)
]
ScorerName = Literal["strict", "paper", "finlora"]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    group.callback()(_group)
    group.command("show", short_help="Scores with intervals and baselines.")(show)
    group.command("score", short_help="Judge saved answers by strict or the paper's rules.")(score)
    group.command("diff", short_help="The rows on which two runs differ, and if by chance.")(diff)
    app.add_typer(group, name="results", help="Look at results, judge them again, compare two.")


def _group() -> None:
    """Look at the saved results of evaluations; no model is asked again."""


def show(run: Run, task: TaskName = None, output: OutputOption = HUMAN) -> None:
    """Print the scores of a run with their intervals, and the baselines that they must beat.

    Two intervals of 95 %: one takes rows for independent, the other draws whole companies,
    filings or texts. Where the run holds base and adapter, they are compared row by row. A task
    that is named or alone is also told label by label, or by what became of its answers.
    """
    from ..evaluation.overview import overview

    found = overview(_read(run, task))
    told = [tables.scores(found["tasks"])]
    if task is not None or len(found["tasks"]) == 1:
        told += [tables.details(one) for one in found["tasks"]]
    if found["against_base"]:
        told.append(tables.against_base(found["against_base"]))
    output.result(
        {"run": str(run), **found},
        human="\n\n".join(told),
        quiet="\n".join(f"{one['accuracy']:.4f}" for one in found["tasks"]),
    )


def score(
    run: Run,
    scorer: Annotated[
        ScorerName | None,
        typer.Option(help="Only this one; all and what each habit of the paper costs if left out."),
    ] = None,
    task: TaskName = None,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1, help="Paper: batch of free answers, whose last incomplete one is dropped."
        ),
    ] = 8,
    output: OutputOption = HUMAN,
) -> None:
    """Judge the saved answers strictly, as the paper's evaluation did, and as FinLoRA's does.

    Where labels were not written, the likeliest one counts as what was written.
    """
    from ..evaluation.rescoring import rescored

    found = [rescored(one, scorer=scorer, batch_size=batch_size) for one in _read(run, task)]
    # the scorer that was asked for, or else the strict one, which judges everything
    firsts = [next(iter(one["scorers"].values())) for one in found]
    output.result(
        {"run": str(run), "tasks": found},
        human=tables.judgements(found),
        quiet="\n".join(f"{one['accuracy']:.4f}" for one in firsts),
    )


def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="The first run, as for `show`.")],
    b: Annotated[
        Path | None,
        typer.Argument(
            metavar="[B]", help="The second; if left out, A's adapter against its base."
        ),
    ] = None,
    task: TaskName = None,
    scorer: Annotated[
        ScorerName | None, typer.Option(help="Judge both by it; as they were scored if left out.")
    ] = None,
    first: Annotated[
        int, typer.Option(min=0, help="How many rows to list of each task; JSON has all.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all rows that flipped (.parquet).")
    ] = None,
    output: OutputOption = HUMAN,
) -> None:
    """List the rows that one run has right and the other wrong, and say if that is chance.

    McNemar's test takes rows for independent; the interval of the gain draws whole clusters. With
    several tasks, p-values are also given as Holm corrects them.
    """
    if out is not None and out.suffix != ".parquet":
        raise UsageError(f"'{out}' is not a .parquet.", fix="Choose another name for --out.")
    from ..evaluation.diff import write_flips
    from ..evaluation.rescoring import differences, not_shared

    runs = _read(a, task), None if b is None else _read(b, task)
    found = differences(*runs, scorer=scorer, names=(str(a), str(b)))
    left_out = not_shared(*runs)
    if left_out:
        output.note(f"Not compared, since only one run has them: {', '.join(left_out)}")
    adjusted = _holm(found)
    if out is not None:
        write_flips(out, found)
    listed = [text for one in found if (text := tables.flips(one, first))]
    output.result(
        {
            "a": str(a),
            "b": None if b is None else str(b),
            "scorer": scorer,
            "tasks": [
                {
                    **one.to_dict(),
                    "p_holm": adjusted[one.task],
                    "flips": one.rows(),
                }
                for one in found
            ],
            "not_compared": left_out,
            **({"file": str(out)} if out else {}),
        },
        human="\n\n".join([tables.differences(found, adjusted), *listed]),
        quiet="\n".join(f"{one.gain:+.4f} {one.test.p_value:.4g}" for one in found),
    )


def _read(run: Path, task: str | None) -> list[TaskResults]:
    from ..evaluation.results import read_results
    from ..evaluation.scorers.of_results import check_rows

    found = [one for one in read_results(run) if task in (None, one.task)]
    if not found:
        raise UsageError(
            f"'{run}' has no results of task '{task}'.", fix="Leave out --task to see all."
        )
    for one in found:
        check_rows(one)
    return found


def _holm(found: Sequence[Difference]) -> dict[str, float]:
    from ..evaluation.statistics import holm

    return holm({one.task: one.test.p_value for one in found})
