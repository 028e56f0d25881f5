"""docs/metrics.md names every figure and habit, its example runs, its table is the program's."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from fin_qlora.evaluation.metrics import LabelScores
from fin_qlora.evaluation.metrics_certainty import Certainty
from fin_qlora.evaluation.scorers import DEVIATIONS, Deviation
from fin_qlora.tasks.answers import Outcome

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")


def first_cells(after: str) -> list[str]:
    table = PAGE.split(after, 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_every_figure_of_labels_is_defined():
    told = set(first_cells("| Figure | Definition |"))
    assert told == {one.name for one in fields(LabelScores)} - {"n", "confusion"}
    assert all(f"- `{one.name}`:" in PAGE for one in fields(Certainty))


def test_every_outcome_is_told():
    assert first_cells("| Outcome | Numbers |") == list(get_args(Outcome))


def test_every_habit_is_told_in_the_words_of_the_code():
    assert first_cells("| Habit | What it is |") == list(get_args(Deviation))
    assert all(f"| `{habit}` | {what} |" in PAGE for habit, what in DEVIATIONS.items())


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    told = "{'exact': 0, 'rounded': 0, 'scale': 1"
    assert told in example
    names: dict[str, Any] = {}
    exec(example, names)
    assert str(names["found"]["outcomes"]).startswith(told)
