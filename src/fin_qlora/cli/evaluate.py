"""``fin-qlora evaluate``: how good is a base model or an adapter?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import UsageError
from .evaluate_tables import overview, shown
from .output import HUMAN, OutputOption


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("evaluate", short_help="Score a base model or an adapter.")(evaluate)


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Base model or adapter: a folder or ORG/NAME.")
    ],
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="May be given several times; all of an adapter's if left out."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The folder that holds the tasks' files.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test"], typer.Option(help="Which rows.")
    ] = "test",
    answers: Annotated[
        Literal["likelihood", "generate", "both"],
        typer.Option(help="Labels: the likeliest, the one written, or both and how they agree."),
    ] = "likelihood",
    form: Annotated[
        Literal["plain", "chat"] | None, typer.Option(help="How to ask a base model.")
    ] = None,
    shots: Annotated[
        int, typer.Option(min=0, help="Worked examples that a base is shown, from the train rows.")
    ] = 0,
    shots_seed: Annotated[int, typer.Option(help="Seed by which they are drawn.")] = 0,
    abstain_below: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Also tell what comes of this threshold of probability."),
    ] = None,
    quantization: Annotated[
        Literal["4bit", "8bit", "none"] | None,
        typer.Option(help="How to load the base; as trained if left out."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in one forward pass at most.")] = 32,
    on_overlong: Annotated[
        Literal["raise", "wrong"],
        typer.Option(help="Rows longer than the model reads: an error, or wrong answers."),
    ] = "raise",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Leave results.json and all rows there; a stopped run goes on."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Forget what an earlier run has left there.")
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Score every row, and print the figures beside those of always giving the commonest answer.

    Labels are scored by their likelihood, or written and read strictly; free answers are always
    written, read and compared.
    """
    if out and (out.suffix in (".json", ".parquet") or out.is_file()):
        raise UsageError(f"'{out}' is no folder.", fix="Name a folder for --out.")
    from ..recipes.evaluation import evaluate_model
    from ..recipes.evaluation_arguments import EvaluationArguments

    found = evaluate_model(
        EvaluationArguments(
            model=model,
            tasks=task,
            data_dir=str(data_dir) if data_dir else None,
            split=split,
            answers=answers,
            form=form,
            shots=shots,
            shots_seed=shots_seed,
            abstain_below=abstain_below,
            quantization=quantization,
            revision=revision,
            limit=limit,
            batch_size=batch_size,
            on_overlong=on_overlong,
            out=str(out) if out else None,
            restart=restart,
        )
    )
    tables = [shown(one) for one in found]
    if len(found) > 1:
        tables.append(overview(found))
    output.result(
        {"tasks": [one.to_dict() for one in found]},
        human="\n\n".join(tables),
        quiet="\n".join(f"{one.scores.accuracy:.4f}" for one in found),
    )
    if out:
        output.note(f"Wrote {out / 'results.json'} and the rows beside it")
