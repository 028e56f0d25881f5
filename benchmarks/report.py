"""The one shape that every benchmark of this folder writes, and the facts of the machine it ran on.

    {"name", "machine", "versions", "commit", "seed",
     "rows": [{"side", "figure", "unit", "value"}], "ratios": {NAME: number}}

``side`` is what was measured (a variant, a model), ``figure`` what was measured of it. Facts of the
machine hold no host name, user name or path.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from fin_qlora.evidence.environment import machine, versions
from fin_qlora.files import write_json

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One measured number: of what, which figure, in which unit; None where it was not measured."""

    side: str
    figure: str
    unit: str
    value: float | None

    @property
    def measured(self) -> float:
        """Return the value. Raises ValueError where nothing was measured."""
        if self.value is None:
            raise ValueError(f"{self.side}: {self.figure} was not measured.")
        return self.value


def commit() -> str:
    """Return the commit that was measured, with "+changes" when the checkout differs from it."""

    def git(*words: str) -> str:
        result = subprocess.run(
            ["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        return result.stdout.strip() if result.returncode == 0 else ""

    head = git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    return head + ("+changes" if git("status", "--porcelain") else "")


def report(
    name: str,
    rows: Iterable[Row],
    *,
    packages: Iterable[str],
    seed: int | None = None,
    ratios: Mapping[str, float] | None = None,
) -> dict[str, object]:
    """Return the finished report of one benchmark, ready to be written as JSON."""
    return {
        "name": name,
        "machine": machine(),
        "versions": versions(packages),
        "commit": commit(),
        "seed": seed,
        "rows": [asdict(row) for row in rows],
        "ratios": dict(ratios or {}),
    }


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a table for people, values to three significant digits or whole."""
    lines = [("side", "figure", "value", "unit")]
    lines += [(row.side, row.figure, _short(row.value), row.unit) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    lines.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column == 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _short(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def write(path: Path, finished: Mapping[str, object]) -> None:
    """Write a report beside ``path`` and rename it into place."""
    write_json(path, dict(finished))
