"""``fin-qlora data stats``: how long the rows are, and how often each answer occurs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .data_rows import (
    DEFAULT_BASE,
    Base,
    DataDir,
    FormName,
    Shots,
    SplitName,
    TaskName,
    encoded_split,
)
from .output import HUMAN, OutputOption, table

if TYPE_CHECKING:
    from ..data.lengths import Lengths

_BAR_WIDTH = 48
_EIGHTHS = " ▏▎▍▌▋▊▉█"
#: Free answers are as many as rows: only the most frequent are listed.
_MOST_ANSWERS = 20


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("stats", short_help="Lengths of the rows, and counts of the answers.")(stats)


def stats(
    task: TaskName,
    data_dir: DataDir = None,
    split: SplitName = "train",
    base: Base = DEFAULT_BASE,
    form: FormName = "plain",
    shots: Shots = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the lengths to a .svg or .png file."),
    ] = None,
    output: OutputOption = HUMAN,
) -> None:
    """Print length percentiles with a small plot, and how many rows have each answer."""
    from ..data.length_figure import check_ending, write_figure
    from ..data.lengths import measure

    if out is not None:
        check_ending(out)
    found = encoded_split(task, split=split, data_dir=data_dir, base=base, form=form, shots=shots)
    lengths = measure(found.encoded, found.rows)
    if out is not None:
        write_figure(out, lengths, title=f"{task}, {split}, {form} prompts")
    output.result(
        {
            "task": task,
            "split": split,
            "base": found.base,
            "contract_digest": found.contract.digest,
            **lengths.to_dict(),
            **({"figure": str(out)} if out else {}),
        },
        human="\n\n".join(
            [
                f"{task}, {split}: {lengths.rows:,} rows, {form} prompts, tokenizer of "
                f"{found.base}",
                _plot(lengths),
                _percentiles(lengths),
                _advice(lengths),
                _answers(lengths),
                *([f"drawn: {out}"] if out else []),
            ]
        ),
        quiet=str(lengths.percentiles[100]),
    )


def _plot(lengths: Lengths) -> str:
    tallest = max(bar.rows for bar in lengths.bars)
    ranges = [f"{bar.first:,}-{bar.last:,}" for bar in lengths.bars]
    wide = max(map(len, (*ranges, "TOKENS")))
    digits = max(len("ROWS"), len(f"{tallest:,}"))
    lines = [f"{'TOKENS':>{wide}}  {'ROWS':>{digits}}"]
    for bar, tokens in zip(lengths.bars, ranges, strict=True):
        drawn = _bar(bar.rows / tallest)
        lines.append(f"{tokens:>{wide}}  {bar.rows:>{digits},}  {drawn}".rstrip())
    return "\n".join(lines)


def _bar(share: float) -> str:
    """Return a bar, to an eighth of a character; a row that is there is never invisible."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    if not encoding.startswith("utf"):
        return "#" * (max(round(share * _BAR_WIDTH), 1) if share else 0)
    eighths = max(round(share * _BAR_WIDTH * 8), 1) if share else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _percentiles(lengths: Lengths) -> str:
    names = {0: "shortest", 50: "median", 100: "longest"}
    columns = [names.get(percent, f"{percent} %") for percent in lengths.percentiles]
    return table(
        (*columns, "mean"),
        [(*(f"{n:,}" for n in lengths.percentiles.values()), f"{lengths.mean:,.1f}")],
        title="Tokens of prompt and answer",
    )


def _advice(lengths: Lengths) -> str:
    over = "; ".join(
        f"{rows:,} {'row exceeds' if rows == 1 else 'rows exceed'} {limit:,}"
        for limit, rows in lengths.beyond.items()
    )
    fits = lengths.smallest_limit
    whole = f"max_length {fits} takes every row whole" if fits else "no usual limit takes all rows"
    trained = f"{lengths.trained_tokens:,} trained tokens"
    return f"{whole}{f' ({over})' if over else ''}; {trained}"


def _answers(lengths: Lengths) -> str:
    shown = list(lengths.answers.items())[:_MOST_ANSWERS]
    most = shown[0][1]
    rows = [
        (_short(answer), f"{count:,}", f"{count / lengths.rows:.1%}", _bar(count / most / 2))
        for answer, count in shown
    ]
    listing = table(("ANSWER", "ROWS", "SHARE", ""), rows)
    rest = len(lengths.answers) - len(shown)
    return f"{listing}\n… and {rest:,} further answers" if rest else listing


def _short(answer: str) -> str:
    line = " ".join(answer.split())
    return line if len(line) <= 48 else f"{line[:47]}…"
