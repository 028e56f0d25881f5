"""The scorers' benchmark judges made-up answerers, and fails where the right one does."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def scorers(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import scorers

    yield scorers
    for name in ("scorers", "report"):
        sys.modules.pop(name, None)


def write(path: Path, *targets: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"context": f"Instruction: x\nInput: {n}\nAnswer: ", "target": t}
        for n, t in enumerate(targets)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path):
    write(tmp_path / "fpb/finlora/fpb_test.jsonl", "neutral", "positive")
    write(
        tmp_path / "tfns/finlora/tfns_test.jsonl", *["positive"] * 7, *["neutral"] * 2, "negative"
    )
    write(tmp_path / "xbrl_value/finlora/xbrl_value_test.jsonl", *["15"] * 8, "16", "no number")
    return tmp_path


def run(scorers, monkeypatch, capsys, *arguments: object) -> str:
    monkeypatch.setattr(sys, "argv", ["scorers.py", *map(str, arguments)])
    scorers.main()
    return capsys.readouterr().out


def test_figures_of_known_answerers(scorers, data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "scorers.json"
    said = run(scorers, monkeypatch, capsys, "--data_dir", data, "--json", out)
    finished = json.loads(out.read_text("utf-8"))
    values = {(row["side"], row["figure"]): row["value"] for row in finished["rows"]}
    assert values["values", "rows"] == 9
    assert values["values", "left out: the answer is no number"] == 1
    assert values["values: always right", "accuracy, strict"] == 1
    assert values["values: always right", "rows counted, paper"] == 8
    assert values["values: right beginning, wrong answer", "accuracy, strict"] == 0
    assert values["values: right beginning, wrong answer", "accuracy, paper"] == 1
    # the published file calls neutral tweets positive
    assert values["tfns: nothing", "accuracy, paper"] == 0.7
    assert values["tfns, as published: nothing", "accuracy, paper"] == 0.2
    assert values["tfns: nothing", "strict + unreadable_is_neutral"] == 70
    assert "| nothing " in said
    assert not any(side.startswith("fpb") for side, _ in values), "its licence forbids selling"


def test_data_that_may_not_be_sold_only_when_asked(scorers, data, monkeypatch, capsys):
    said = run(scorers, monkeypatch, capsys, "--data_dir", data, "--noncommercial")
    assert "fpb" in said


def test_a_right_answer_that_is_not_right_is_an_error(scorers, data, monkeypatch, capsys):
    monkeypatch.setitem(scorers.FOR_ALL, "always right", lambda saved: ["x"] * len(saved.golds))
    with pytest.raises(SystemExit, match="tfns"):
        run(scorers, monkeypatch, capsys, "--data_dir", data)


def test_no_file_is_an_error(scorers, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="nothing was read"):
        run(scorers, monkeypatch, capsys, "--data_dir", tmp_path)
