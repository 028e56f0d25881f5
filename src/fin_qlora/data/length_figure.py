"""The histogram of row lengths as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from xml.sax.saxutils import escape

from ..errors import MissingDependencyError, UsageError
from ..files import write_bytes, write_text
from .lengths import Lengths

_WIDTH, _HEIGHT = 760, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 56, 48
_MARKED = (50, 95, 99)
_BAR, _LINE, _TEXT, _FAINT = "#3b6ea5", "#b3541e", "#222222", "#888888"


def write_figure(path: Path, lengths: Lengths, *, title: str) -> None:
    """Write the histogram to a ``.svg`` or ``.png`` file, whole or not at all.

    Raises:
        UsageError: the file name has another ending.
        MissingDependencyError: PNG needs matplotlib, which is not installed.
    """
    check_ending(path)
    if path.suffix == ".svg":
        write_text(path, svg(lengths, title=title))
    else:
        write_bytes(path, _png(lengths, title=title))


def check_ending(path: Path) -> None:
    """Raise UsageError unless the file is one that can be drawn."""
    if path.suffix not in (".svg", ".png"):
        raise UsageError(f"'{path}' is neither .svg nor .png.", fix="Choose one of the two.")


def svg(lengths: Lengths, *, title: str) -> str:
    """Return the histogram as an SVG document: bars, percentiles marked, axes in tokens and rows.

    The numbers are in it as text, and each bar tells its own when it is pointed at.
    """
    first, last = lengths.bars[0].first, lengths.bars[-1].last + 1
    tallest = max(bar.rows for bar in lengths.bars)
    across, up = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    floor = _TOP + up

    def x(tokens: float) -> float:
        return _LEFT + (tokens - first) / (last - first) * across

    def text(at: float, y: float, words: str, *, anchor: str = "middle", fill: str = _TEXT) -> str:
        return (
            f'<text x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">'
            f"{escape(words)}</text>"
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        text(_LEFT, 20, f"{title}: {lengths.rows:,} rows", anchor="start"),
    ]
    for bar in lengths.bars:
        height = bar.rows / tallest * up
        wide = max(x(bar.last + 1) - x(bar.first) - 1, 0.5)
        parts.append(
            f'<rect x="{x(bar.first):.1f}" y="{floor - height:.1f}" width="{wide:.1f}" '
            f'height="{height:.1f}" fill="{_BAR}"><title>{bar.first:,} to {bar.last:,} tokens: '
            f"{bar.rows:,} rows</title></rect>"
        )
    parts.append(
        f'<path d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - _RIGHT}" fill="none" stroke="{_TEXT}"/>'
    )
    for share in (0.5, 1.0):
        y = floor - share * up
        parts.append(text(_LEFT - 6, y + 4, f"{round(tallest * share):,}", anchor="end"))
    step = max(len(lengths.bars) // 8, 1)
    for bar in lengths.bars[::step]:
        parts.append(text(x(bar.first), floor + 16, f"{bar.first:,}"))
    parts.append(text(_LEFT + across / 2, _HEIGHT - 10, "tokens, prompt and answer", fill=_FAINT))
    parts.append(text(_LEFT, _TOP - 10, "rows", anchor="end", fill=_FAINT))
    right_edge = -100.0
    for percent in _MARKED:
        at = x(lengths.percentiles[percent] + 0.5)
        label = f"{percent} %: {lengths.percentiles[percent]:,}"
        # a label that would run into the one before it stands a line higher
        y = _TOP - 6 if at - right_edge > 40 else _TOP - 20
        right_edge = at + 40
        parts.append(
            f'<path d="M{at:.1f} {y + 3:.1f}V{floor}" stroke="{_LINE}" stroke-dasharray="4 3"/>'
        )
        parts.append(text(min(at, _WIDTH - 44), y, label, fill=_LINE))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _png(lengths: Lengths, *, title: str) -> bytes:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "A PNG is drawn by matplotlib, which is not installed.",
            fix="Name a .svg file, or install fin-qlora[plots].",
        ) from error
    figure = Figure(figsize=(_WIDTH / 100, _HEIGHT / 100), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.bar(
        [bar.first for bar in lengths.bars],
        [bar.rows for bar in lengths.bars],
        width=[(bar.last + 1 - bar.first) * 0.96 for bar in lengths.bars],
        align="edge",
        color=_BAR,
    )
    for place, percent in enumerate(_MARKED):
        at = lengths.percentiles[percent]
        axes.axvline(at + 0.5, color=_LINE, linestyle="--", linewidth=1)
        axes.annotate(
            f"{percent} %: {at:,}",
            (at + 0.5, 1.01 + 0.05 * (place % 2)),  # neighbours on two lines
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize=8,
            color=_LINE,
        )
    axes.set(xlabel="tokens, prompt and answer", ylabel="rows")
    axes.set_title(f"{title}: {lengths.rows:,} rows", loc="left", fontsize=10, pad=26)
    axes.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
