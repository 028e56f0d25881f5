"""``fin-qlora evaluate``: how good is a base model or an adapter?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import UsageError
from ..files import write_json
from .output import HUMAN, Output, OutputOption, table

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..evaluation import AnswerScores, Evaluation, LabelScores


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate", short_help="Score a base model or an adapter.")(evaluate)


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Base model or adapter: a folder or ORG/NAME.")
    ],
    task: Annotated[
        str | None, typer.Option(metavar="NAME", help="An adapter of one task knows its own.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that holds the task's files.")
    ] = None,
    split: Annotated[Literal["train", "test"], typer.Option(help="Which rows.")] = "test",
    form: Annotated[
        Literal["plain", "chat"], typer.Option(help="How to ask a base model.")
    ] = "plain",
    shots: Annotated[
        int, typer.Option(min=0, help="Worked examples that a base is shown, from the train rows.")
    ] = 0,
    shots_seed: Annotated[int, typer.Option(help="Seed by which they are drawn.")] = 0,
    quantization: Annotated[
        Literal["4bit", "8bit", "none"] | None,
        typer.Option(help="How to load the base; as trained if left out."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the scores (.json) or all rows (.parquet)."),
    ] = None,
    output: OutputOption = HUMAN,
) -> None:
    """Score every row, and print the figures beside those of always giving the commonest answer.

    Labels are scored by their likelihood; free answers are written, read and compared.
    """
    if out and out.suffix not in (".json", ".parquet"):
        raise UsageError(f"'{out}' is neither .json nor .parquet.", fix="Choose one for --out.")
    from tqdm import tqdm

    from ..evaluation import evaluate as run

    with tqdm(desc="scoring", unit=" rows", file=sys.stderr, disable=None, leave=False) as bar:
        found = run(
            model,
            task=task,
            data_dir=data_dir,
            split=split,
            form=form,
            shots=shots,
            shots_seed=shots_seed,
            quantization=quantization,
            revision=revision,
            limit=limit,
            progress=lambda done: _move(bar, done),
        )
    if out and out.suffix == ".parquet":
        found.write_rows(out)
    elif out:
        write_json(out, found.to_dict())
    _show(found, output)


def _further(scores: LabelScores | AnswerScores) -> list[tuple[str, str]]:
    """Return the figures besides accuracy: F1 of labels; metrics and outcomes of free answers."""
    from ..evaluation import LabelScores

    majority = f"{scores.majority:.4f}"
    if isinstance(scores, LabelScores):
        return [("weighted F1", f"{scores.weighted_f1:.4f}"), ("majority class", majority)]
    return [
        ("or rounded", f"{scores.accuracy_when_rounded:.4f}"),
        *(
            (name.replace("_f1", "_F1").replace("_", " "), f"{x:.4f}")
            for name, x in scores.metrics.items()
        ),
        ("commonest answer", majority),
        ("outcomes", ", ".join(f"{name} {n:,}" for name, n in scores.outcomes.items() if n)),
        ("unfinished", f"{scores.unfinished:,}"),
    ]


def _which_rows(about: Mapping[str, Any]) -> str:
    """Say which rows were scored, so that no look at a few or at trained ones passes for a test."""
    what = "test rows" if about["split"] == "test" else "TRAINING ROWS"
    some = f" (the first {about['limit']} only)" if about["limit"] else ""
    return f"{what}{some}{' of a part of the published file' if about['partial_file'] else ''}"


def _move(bar: tqdm[Any], done: int) -> None:
    bar.update(done - bar.n)


def _show(found: Evaluation, output: Output) -> None:
    scores, about = found.scores, found.about
    rows = [
        ("model", f"{about['model']}, base in {about['quantization']}"),
        ("data", f"{about['data']['file']}, {_which_rows(about)}"),
        *([("worked examples", str(about["shots"]))] if about["shots"] else []),
        ("rows", f"{scores.n:,}"),
        ("accuracy", f"{scores.accuracy:.4f}"),
        *_further(scores),
        ("seconds per row", f"{found.seconds_per_example:.4f}"),
    ]
    output.result(
        found.to_dict(),
        human=table(("FIGURE", "VALUE"), rows, title=f"Task {found.task}"),
        quiet=f"{scores.accuracy:.4f}",
    )
