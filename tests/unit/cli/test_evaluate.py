"""`fin-qlora evaluate` prints scores and can leave them in a file."""

import json
from dataclasses import dataclass, field

import pytest

from fin_qlora import evaluation
from fin_qlora.evaluation import AnswerScores, LabelScores


@dataclass
class Found:
    task: str = "tfns"
    seconds_per_example: float = 0.01
    scores: LabelScores | AnswerScores = field(
        default_factory=lambda: LabelScores(
            n=1234, accuracy=0.8, weighted_f1=0.79, majority=0.65, confusion={}
        )
    )

    about: dict = field(
        default_factory=lambda: {
            "model": "a/b",
            "quantization": "4bit",
            "split": "train",
            "limit": 5,
            "shots": 0,
            "partial_file": True,
            "data": {"file": "tfns/sent_train.csv"},
        }
    )

    def to_dict(self):
        return {"task": self.task, **vars(self.scores)}

    def write_rows(self, path):
        path.write_bytes(b"PAR1")


@pytest.fixture
def asked(monkeypatch):
    seen = {}

    def evaluate(reference, **options):
        seen.update(options, reference=reference)
        found = Found()
        found.about["shots"] = options["shots"]
        return found

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    return seen


def test_scores_in_every_format(fin_qlora, asked):
    said = fin_qlora("evaluate", "a/b", "--task", "tfns", "--data_dir", "d", "--limit", 5)
    assert "accuracy         0.8000" in said.out
    assert "majority class   0.6500" in said.out
    assert "TRAINING ROWS (the first 5 only) of a part of the published file" in said.out
    assert "a/b, base in 4bit" in said.out
    assert (asked["reference"], asked["limit"], asked["split"]) == ("a/b", 5, "test")
    assert json.loads(fin_qlora("evaluate", "a/b", "--format", "json").out)["n"] == 1234
    assert fin_qlora("evaluate", "a/b", "--format", "quiet").out == "0.8000\n"


def test_free_answers_are_told_by_what_became_of_them(fin_qlora, asked, monkeypatch):
    outcomes = {"exact": 5, "rounded": 1, "scale": 2, "sign": 0, "wrong": 0, "none": 2}
    scores = AnswerScores(
        n=10,
        accuracy=0.5,
        majority=0.1,
        outcomes=outcomes,
        unfinished=1,
        metrics={"exact_match": 0.4, "micro_f1": 0.45},
    )
    told = Found(task="xbrl_value", scores=scores)
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: told)
    said = fin_qlora("evaluate", "a/b")
    for line in (
        "accuracy          0.5000",
        "or rounded        0.6000",
        "exact match       0.4000",
        "micro F1          0.4500",
        "commonest answer  0.1000",
        "outcomes          exact 5, rounded 1, scale 2, none 2",
        "unfinished        1",
    ):
        assert line in said.out


def test_a_base_may_be_shown_worked_examples(fin_qlora, asked):
    said = fin_qlora("evaluate", "a/b", "--task", "tfns", "--shots", 3, "--shots-seed", 7)
    assert (asked["shots"], asked["shots_seed"]) == (3, 7)
    assert "worked examples  3" in said.out
    said = fin_qlora("evaluate", "a/b", "--task", "tfns")
    assert (asked["shots"], asked["shots_seed"]) == (0, 0)
    assert "worked examples" not in said.out
    assert fin_qlora("evaluate", "a/b", "--shots", -1).code == 2


def test_they_can_be_left_in_a_file(fin_qlora, asked, tmp_path):
    assert fin_qlora("evaluate", "a/b", "--out", tmp_path / "a.json").code == 0
    assert json.loads((tmp_path / "a.json").read_text())["accuracy"] == 0.8
    assert fin_qlora("evaluate", "a/b", "--out", tmp_path / "a.parquet").code == 0
    assert (tmp_path / "a.parquet").read_bytes() == b"PAR1"
    assert fin_qlora("evaluate", "a/b", "--out", tmp_path / "a.csv").code == 2
