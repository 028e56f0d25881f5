"""What a command prints: data on stdout as a person, a program or a script wants it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import typer

Format = Literal["human", "json", "quiet"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """Prints data on stdout in one format, and everything else on stderr.

    ``human`` is a table or sentences, ``json`` one object (or one a line, for a stream), and
    ``quiet`` the one value that a script wants.
    """

    format: Format
    chosen: bool = True

    @classmethod
    def named(cls, value: Output | str) -> Output:
        """Return the output of that name. Raises typer.BadParameter for another one."""
        if isinstance(value, Output):
            return value
        for name in get_args(Format):
            if value == name:
                return cls(format=name)
        raise typer.BadParameter(f"'{value}' is none of {', '.join(get_args(Format))}.")

    def result(self, value: Any, *, human: str, quiet: str) -> None:
        """Print the command's one result in the chosen format; nothing where the text is empty."""
        if self.format == "json":
            write(json.dumps(value, indent=2, ensure_ascii=False))
        else:
            text = human if self.format == "human" else quiet
            if text:
                write(text)

    def line(self, value: Any, *, human: str, quiet: str) -> None:
        """Print one item of a stream: JSON on one line, so that a reader can begin at once."""
        if self.format == "json":
            write(json.dumps(value, ensure_ascii=False))
        else:
            write(human if self.format == "human" else quiet)

    def note(self, text: str) -> None:
        """Tell the person at the terminal something that is not data; ``quiet`` leaves it out."""
        if self.format != "quiet":
            tell(text)


def _inherited(context: typer.Context, value: Output) -> Output:
    """Take the format given before the command's name when none is given after it."""
    root: Output | None = context.find_root().params.get("output")
    return value if value.chosen or root is None else root


_UNCHOSEN = Output(format="human", chosen=False)

OutputOption = Annotated[
    Output,
    typer.Option(
        "--format",
        parser=Output.named,
        callback=_inherited,
        metavar="human|json|quiet",
        help="How to print the result.",
        show_default=False,
    ),
]

#: The default of every ``output: OutputOption`` parameter.
HUMAN = _UNCHOSEN


def write(text: str) -> None:
    """Write a line to stdout; a reader that has closed its end (``| head``) ends us quietly."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # the interpreter flushes stdout once more at its end: give it somewhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def tell(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """Return a table as text: drawn by rich on a terminal, else in aligned columns."""
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        return _drawn(columns, rows, title=title)
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, ["-" * width for width in widths], *rows)
    ]
    return "\n".join([title, "", *lines] if title else lines)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, box=box.SIMPLE_HEAVY, title_justify="left")
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n")
