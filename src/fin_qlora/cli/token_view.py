"""Tokens for a person: in colour on a terminal, in brackets anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from ..data.mask import Kind, MaskedRow, Piece

#: Of a longer row, the pieces that are shown from either end of the prompt.
_HEAD, _TAIL = 150, 90
#: Characters of a longer cut passage that are shown from either end.
_CUT_ENDS = 60

_MEANING: dict[Kind, str] = {
    "begin": "begin token",
    "control": "control token of the chat",
    "prompt": "prompt, read only",
    "cut": "cut, the model never sees it",
    "answer": "answer, trained",
    "end": "end token, trained",
}
#: Neighbours differ in shade, so that each token can be told from the next.
_STYLES: dict[Kind, tuple[str, str]] = {
    "begin": ("bold white on dark_magenta", "bold white on dark_magenta"),
    "control": ("white on dark_magenta", "white on medium_purple4"),
    "prompt": ("default on grey19", "default on grey30"),
    "cut": ("strike bright_red", "strike bright_red"),
    "answer": ("bold black on green3", "bold black on spring_green2"),
    "end": ("bold black on gold1", "bold black on gold1"),
}
_BETWEEN = "│"


def legend(rows: Iterable[MaskedRow]) -> str:
    """Return what each colour or bracket means, for what occurs in the rows."""
    present = {piece.kind for row in rows for piece in row.pieces}
    kinds = [kind for kind in _MEANING if kind in present]
    if not _in_colour():
        brackets = "  ".join(f"{_bracketed(kind, '…')} {_MEANING[kind]}" for kind in kinds)
        return f"{brackets}  {_BETWEEN} between tokens  ↵ line break"
    from rich.text import Text

    line = Text()
    for kind in kinds:
        line.append(f" {_MEANING[kind]} ", style=_STYLES[kind][0])
        line.append("  ")
    line.append("↵ line break")
    return _drawn(line)


def tokens_as_text(row: MaskedRow, *, whole: bool) -> str:
    """Return the row token by token; of a long prompt the middle is left out unless ``whole``."""
    shown, hidden = (row.pieces, 0) if whole else _ends(row.pieces)
    if not _in_colour():
        return _in_brackets(shown, hidden)
    from rich.text import Text

    line = Text()
    for place, piece in enumerate(shown):
        if hidden and place == _HEAD:
            line.append(f"\n{_not_shown(hidden)}\n", style="italic")
        line.append(_visible(piece), style=_STYLES[piece.kind][place % 2])
    return _drawn(line)


def written_out(row: MaskedRow, *, whole: bool) -> str:
    """Return the row as text, with its answer set apart."""
    del whole  # a text is always shown to its end
    read = "".join(p.text for p in row.pieces if p.kind in ("begin", "control", "prompt"))
    trained = [piece for piece in row.pieces if piece.kind in ("answer", "end")]
    return f"{read.rstrip()}\n→ {''.join(piece.text for piece in trained)}"


def _in_colour() -> bool:
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def _drawn(line: Text) -> str:
    from rich.console import Console

    console = Console()
    with console.capture() as captured:
        console.print(line, soft_wrap=False)
    return captured.get().rstrip("\n")


def _ends(pieces: Sequence[Piece]) -> tuple[Sequence[Piece], int]:
    """Return the pieces without the middle of the prompt, and how many were left out.

    What is cut or trained is always shown.
    """
    kept = [
        piece
        for place, piece in enumerate(pieces)
        if place < _HEAD or place >= len(pieces) - _TAIL or piece.kind not in ("prompt", "control")
    ]
    hidden = len(pieces) - len(kept)
    return (kept, hidden) if hidden > _TAIL // 2 else (pieces, 0)


def _in_brackets(pieces: Sequence[Piece], hidden: int) -> str:
    """Return runs of one kind in one bracket, tokens told apart by a bar, lines kept."""
    parts: list[str] = []
    numbered = list(enumerate(pieces))
    for (kind, after), run in groupby(
        numbered, key=lambda item: (item[1].kind, bool(hidden) and item[0] >= _HEAD)
    ):
        if after and (not parts or _not_shown(hidden) not in "".join(parts)):
            parts.append(f"\n{_not_shown(hidden)}\n")
        words = _BETWEEN.join(_visible(piece) for _, piece in run)
        parts.append(_bracketed(kind, words.replace(f"\n{_BETWEEN}", "\n")))
    return "".join(parts)


def _bracketed(kind: Kind, words: str) -> str:
    return words if kind == "prompt" else f"⟦{kind} {words}⟧"


def _visible(piece: Piece) -> str:
    """Return the text of a piece with its line breaks shown and kept; a long cut by its ends."""
    text = piece.text
    if piece.kind == "cut":
        text = " ".join(text.split())
        if len(text) > 2 * _CUT_ENDS + 20:
            text = f"{text[:_CUT_ENDS]} … {len(text):,} characters … {text[-_CUT_ENDS:]}"
        return text
    if text.strip("\n") or not text:
        return text.replace("\n", "↵\n")
    return "↵" * len(text) + "\n"


def _not_shown(hidden: int) -> str:
    return f"… {hidden:,} tokens of the prompt not shown (--whole shows them) …"
