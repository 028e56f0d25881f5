"""``fin-qlora train``: a recipe under accelerate launch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import UsageError
from ..recipes.catalogue import recipe_path
from .flags import snake_case
from .launch import Launch
from .output import HUMAN, Output, OutputOption, tell
from .processes import as_typed

#: What a recipe's flag takes for yes and no.
_SAID = {
    **dict.fromkeys(("true", "yes", "t", "y", "1"), True),
    **dict.fromkeys(("false", "no", "f", "n", "0"), False),
}


class _Train(TyperCommand):
    """Takes ``--dry_run true`` as recipes do, besides the bare switch."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _as_switch(args))


def _as_switch(words: list[str]) -> list[str]:
    """Replace ``--dry_run VALUE`` and ``--dry_run=VALUE`` by the switch, or by nothing for no."""
    result: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name.replace("_", "-") != "--dry-run":
            result.append(word)
            continue
        if not equals:
            value = rest.pop(0) if rest and rest[0].lower() in _SAID else "true"
        if value.lower() not in _SAID:
            raise UsageError(f"'{word}' says neither true nor false.", fix="Write --dry-run.")
        if _SAID[value.lower()]:
            result.append("--dry-run")
    return result


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "train",
        cls=_Train,
        short_help="Fine-tune an adapter as a recipe says.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(train)


def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name of `fin-qlora recipes ls`, or a file.")
    ],
    accelerate: Annotated[
        str,
        typer.Option(metavar="PROFILE", help="A profile of recipes/accelerate/, or a file."),
    ] = "single",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and print the plan; train nothing.")
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Fine-tune an adapter as a recipe says; every further flag is the recipe's.

    Example: fin-qlora train classification/tfns-tiny-4bit-r4 --data-dir DATA --output-dir runs/a
    """
    if recipe.startswith("-"):
        raise UsageError(
            f"'{recipe}' comes before the recipe.", fix="Write: fin-qlora train RECIPE [FLAGS]."
        )
    recipe_path(recipe)
    if recipe.startswith("evaluation/"):
        raise UsageError(
            f"'{recipe}' evaluates a model and trains none.",
            fix=f"Run: accelerate launch -m fin_qlora.recipes.evaluation --config {recipe}",
        )
    flags = [*map(snake_case, context.args), *(["--dry_run", "true"] if dry_run else [])]
    launch = Launch(recipe=recipe, flags=flags, profile=accelerate)
    output.note(f"$ {as_typed(launch.typed())}")
    printed: list[str] = []

    def keep(line: str) -> None:
        printed.append(line)
        if not dry_run:
            output.note(line)

    code = launch.run(on_line=keep)
    if code:
        if accelerate != "single":
            # torchrun reports after the recipe's own sentence, at length
            tell("fin-qlora: the run failed; the reason is the line 'fin-qlora: …' further up.")
        raise typer.Exit(code)
    _show(printed, output, dry_run=dry_run)


def _show(printed: list[str], output: Output, *, dry_run: bool) -> None:
    """Print the plan of a dry run, or what was made: the recipe prints either on its stdout."""
    if dry_run:
        report: dict[str, Any] = json.loads("\n".join(printed) or "{}")
        text = json.dumps(report, indent=2, ensure_ascii=False)
        output.result(report, human=text, quiet="")
        return
    folder = Path(next((line for line in reversed(printed) if line.strip()), ""))
    from ..evidence import read_manifest

    manifest = read_manifest(folder)
    scores = {task["task"]: task["evaluation"] for task in manifest["tasks"]}
    result = {"evaluation": scores, "cost": manifest["cost"], "adapter": str(folder)}
    output.result(result, human=str(folder), quiet=str(folder))
