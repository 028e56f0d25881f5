"""``fin-qlora data show``: rows as the model will see them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .data_rows import (
    DEFAULT_BASE,
    Base,
    DataDir,
    EncodedSplit,
    FormName,
    ShortenTo,
    Shots,
    SplitName,
    TaskName,
    encoded_split,
)
from .output import HUMAN, OutputOption

if TYPE_CHECKING:
    from ..data.mask import MaskedRow


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("show", short_help="Show rows as the model will see them.")(show)


def show(
    task: TaskName,
    data_dir: DataDir = None,
    split: SplitName = "train",
    mask: Annotated[
        bool, typer.Option("--mask", help="Show every token, and which ones are trained.")
    ] = False,
    rows: Annotated[int, typer.Option(min=0, help="Random rows besides the two.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed by which they are drawn.")] = 0,
    base: Base = DEFAULT_BASE,
    form: FormName = "plain",
    shots: Shots = 0,
    shorten_to: ShortenTo = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Show long rows to the last token.")
    ] = False,
    output: OutputOption = HUMAN,
) -> None:
    """Show the longest row, the shortest, and random ones: prompt, trained answer, end token."""
    from ..data.mask import mask_row
    from .token_view import legend, tokens_as_text, written_out

    found = encoded_split(
        task,
        split=split,
        data_dir=data_dir,
        base=base,
        form=form,
        shots=shots,
        shorten_to=shorten_to,
    )
    chosen = [
        (name, mask_row(found.contract, found.tokenizer, found.rows[place], number=place + 1))
        for name, place in _places(found, count=rows, seed=seed)
    ]
    view = tokens_as_text if mask else written_out
    human = [
        f"{task}, {split}: {len(found.rows):,} rows, {found.contract.form} prompts, "
        f"tokenizer of {found.base}",
        *([legend(row for _, row in chosen)] if mask else []),
        *(f"\n{_heading(name, row)}\n{view(row, whole=whole)}" for name, row in chosen),
    ]
    output.result(
        {
            "task": task,
            "split": split,
            "rows": len(found.rows),
            "base": found.base,
            "contract_digest": found.contract.digest,
            "shown": [{"which": name, **row.to_dict()} for name, row in chosen],
        },
        human="\n".join(human),
        quiet="\n".join(str(row.row) for _, row in chosen),
    )


def _places(found: EncodedSplit, *, count: int, seed: int) -> Sequence[tuple[str, int]]:
    """Return the rows to show: places from 0, each with what it is shown as."""
    lengths = found.encoded.lengths + found.encoded.columns["cut_tokens"].to_numpy()
    longest, shortest = int(lengths.argmax()), int(lengths.argmin())
    others = [place for place in range(len(lengths)) if place not in (longest, shortest)]
    drawn = random.Random(seed).sample(others, min(count, len(others)))
    ends = [("longest", longest), ("shortest", shortest)] if longest != shortest else []
    return [*(ends or [("only length", longest)]), *(("random", place) for place in sorted(drawn))]


def _heading(name: str, row: MaskedRow) -> str:
    cut = ""
    if row.cut_tokens:
        facts = f" ({row.cut_facts} distractor facts)" if row.cut_facts else ""
        cut = f", {row.cut_tokens:,} tokens cut{facts}"
    return (
        f"{name.capitalize()} (row {row.row:,}): {row.tokens:,} tokens, "
        f"{row.trained_tokens:,} trained{cut}"
    )
