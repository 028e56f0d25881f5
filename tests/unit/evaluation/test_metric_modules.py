"""The metrics of the `evaluate` library: as classes, and loaded by path without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fin_qlora.errors import DataError
from fin_qlora.evaluation.metric import AnswerMetric, LabelMetric, answers, labels
from fin_qlora.evaluation.metrics import label_scores
from fin_qlora.tasks import get

TRUE, READ = ["a", "a", "b", "b", "b"], ["a", "b", "b", "none", "a"]

BY_PATH = """
import json, sys
import evaluate
labels = evaluate.load(sys.argv[1]).compute(
    predictions=["a", "b", "b", "none", "a"], references=["a", "a", "b", "b", "b"],
    labels=["a", "b"])
answers = evaluate.load(sys.argv[2]).compute(
    predictions=["1.5 thousand", "-1500"], references=["1500", "1500"], task="xbrl_value")
print(json.dumps([labels, answers]))
"""


def test_the_label_metric_gives_the_label_scores():
    probabilities = [{"a": 0.75, "b": 0.25}] * 5
    options = {"labels": ["a", "b"], "probabilities": probabilities}
    found = LabelMetric().compute(predictions=READ, references=TRUE, **options)
    assert found == label_scores(TRUE, READ, **options).to_dict()
    assert found["invalid"] == 1
    assert found["certainty"]["brier"] > 0


def test_the_answer_metric_reads_and_compares_as_the_task_does():
    metric = AnswerMetric()
    found = metric.compute(
        predictions=["Cash", "us-gaap:Debt", "?"],
        references=["us-gaap:Cash", "us-gaap:Cash", "us-gaap:Debt"],
        task="finer",
        seen=["us-gaap:Debt"],
    )
    assert found["accuracy"] == 1 / 3
    assert found["by_seen"] == {
        "seen": {"n": 1, "accuracy": 0},
        "unseen": {"n": 2, "accuracy": 0.5},
    }
    assert set(found["metrics"]) == set(get("finer").metrics) - {"accuracy"}
    row = {"meta": {"decimals": -3}}
    rounded = metric.compute(
        predictions=["1499900"], references=["1500000"], task="xbrl_value", rows=[row]
    )
    assert rounded["outcomes"]["rounded"] == 1


def test_an_answer_that_is_missing_is_none():
    # the library refuses None as the first answer of all, and lets it through after that
    found = AnswerMetric().compute(
        predictions=["7", None], references=["7", "7"], task="xbrl_value"
    )
    assert (found["outcomes"]["exact"], found["outcomes"]["none"]) == (1, 1)
    found = LabelMetric().compute(predictions=["a", None], references=["a"] * 2, labels=["a", "b"])
    assert found["invalid"] == 1


def test_rows_for_other_answers_are_an_error():
    with pytest.raises(DataError, match="1 right answers and 2 rows"):
        AnswerMetric().compute(
            predictions=["7"], references=["7"], task="xbrl_value", rows=[{}, {}]
        )


def test_both_are_loaded_by_path_offline(tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    files = [str(Path(module.__file__)) for module in (labels, answers)]
    result = subprocess.run(
        [sys.executable, "-c", BY_PATH, *files],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    of_labels, of_answers = json.loads(result.stdout.splitlines()[-1])
    assert of_labels == label_scores(TRUE, READ, labels=["a", "b"]).to_dict()
    assert of_answers["outcomes"] | {"exact": 1, "sign": 1} == of_answers["outcomes"]
