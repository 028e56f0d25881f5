"""The training benchmark has the rows that it says, and keeps what was not measured again."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import pytest

from fin_qlora.prompts.contract import IGNORED


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import training

    yield training
    for name in ("training", "report"):
        sys.modules.pop(name, None)


def test_short_rows_are_as_long_as_financial_phrasebanks(training, tokenizer):
    rows = training.short_rows(tokenizer, 60)
    empty = 49  # tokens of the prompt without the news, and of the answer
    lengths = sorted(len(row["input_ids"]) - empty for row in rows)
    assert statistics.median(lengths) == pytest.approx(39, abs=10)
    assert lengths[-1] <= 150
    trained = [sum(label != IGNORED for label in row["labels"]) for row in rows]
    assert set(trained) == {2}, "a label and the end token"


def test_long_rows_have_two_thousand_tokens_each_of_its_own(training, tokenizer):
    rows = training.long_rows(tokenizer, 2)
    assert all(1900 < len(row["input_ids"]) <= 2000 for row in rows)
    shared = next(
        i
        for i, (a, b) in enumerate(zip(rows[0]["input_ids"], rows[1]["input_ids"], strict=False))
        if a != b
    )
    assert shared < 150, "nothing but the instruction"


def test_a_part_measured_again_replaces_its_rows(training, tmp_path):
    def rows(side: str, speed: float) -> list:
        return [
            training.Row(f"{side}, nf4, short rows", "examples/s", "examples/s", speed),
            training.Row(f"{side}, nf4, short rows", "loss in the last epoch", "nats/token", 1.0),
        ]

    old = [*rows("trl", 10.0), *rows("fin_qlora", 20.0)]
    path = tmp_path / "training.json"
    path.write_text(json.dumps({"rows": [vars(row) for row in old]}))
    measured = rows("fin_qlora", 40.0)
    kept = training.kept(path, measured)
    assert kept == rows("trl", 10.0)
    assert training.ratios([*kept, *measured]) == {"speed over trl, nf4, short rows": 4.0}
    assert training.kept(None, measured) == []
