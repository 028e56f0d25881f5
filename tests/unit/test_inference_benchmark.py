"""The inference benchmark runs to its end on few rows, and all its sides agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def inference(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import inference

    yield inference
    for name in ("inference", "training", "report"):
        sys.modules.pop(name, None)


def test_a_quick_run_of_the_scoring(tmp_path):
    file = tmp_path / "inference.json"
    done = subprocess.run(
        [
            *(sys.executable, str(BENCHMARKS / "inference.py"), "--quick"),
            *("--parts", "scoring", "--json", str(file)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    values = {(row["side"], row["figure"]): row["value"] for row in found["rows"]}
    sides = ("a pass a label", "generate", "without the cache", "fin_qlora", "fin_qlora, written")
    assert all(values[f"scoring, {side}", "rows"] > 0 for side in sides)
    assert values["scoring, all sides", "rows with the same label"] == 16
    assert values["scoring, all sides", "rows answered as the head was fitted to"] == 16
    assert "speed, fin_qlora over a pass a label" in found["ratios"]


def test_sides_that_disagree_are_no_measurement(inference):
    inference._check_alike({"one": ["up", "down"], "other": ["up", "down"]})
    with pytest.raises(RuntimeError, match="Row 1: 'one' finds 'down', 'other' 'up'"):
        inference._check_alike({"one": ["up", "down"], "other": ["up", "up"]})


def test_ratios_are_of_what_was_measured(inference):
    rows = [
        inference.Row("scoring, a pass a label", "rows", "rows/s", 10.0),
        inference.Row("scoring, fin_qlora", "rows", "rows/s", 40.0),
        inference.Row("loading, 22M, PeftModel.from_pretrained", "time", "s", 2.0),
        inference.Row("loading, 22M, load_adapter, verify=False", "time", "s", 2.1),
        inference.Row("pipeline, one process", "label scoring", "rows/s", 100.0),
        inference.Row("pipeline, two stages", "label scoring", "rows/s", 160.0),
    ]
    assert inference.ratios(rows) == {
        "speed, fin_qlora over a pass a label": 4.0,
        "time, 22M, load_adapter, verify=False over PeftModel.from_pretrained": 1.05,
        "speed, two stages over one process": 1.6,
    }


def test_an_unknown_part_is_named(inference, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["inference.py", "--parts", "scorin"])
    with pytest.raises(SystemExit):
        inference.main()
    assert "there is no 'scorin'" in capsys.readouterr().err
