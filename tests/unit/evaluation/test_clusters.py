"""Rows of one company, filing or sentence are one cluster, and intervals heed it."""

from __future__ import annotations

import pytest

from fin_qlora.evaluation.clusters import (
    accuracy_intervals,
    cluster_name,
    clusters_of,
    label_intervals,
)
from fin_qlora.evaluation.intervals import wilson
from fin_qlora.evaluation.metrics import label_scores
from fin_qlora.tasks import get


def test_filings_of_one_company_are_one_cluster():
    rows = [
        {"text": "1", "company": "A", "filing": "a-2022"},
        {"text": "2", "company": "A", "filing": "a-2023"},
        {"text": "3", "company": "B", "filing": "b-2023"},
        {"text": "4", "company": "", "filing": "b-2023"},
        {"text": "5", "company": None, "filing": None},
        {"text": "6"},
    ]
    assert clusters_of(get("xbrl_value"), rows) == [0, 0, 1, 1, 2, 3]
    assert cluster_name(get("xbrl_value")) == "company or filing"


def test_mentions_in_one_sentence_are_one_cluster_in_whatever_spelling():
    rows = [{"text": "The Lender pays."}, {"text": "the lender  pays"}, {"text": "Another."}]
    assert clusters_of(get("ner"), rows) == [0, 0, 1]
    assert clusters_of(None, rows) == [0, 0, 1], "a task that is not known here"


def test_both_intervals_of_an_accuracy():
    rows = [{"text": str(n % 30)} for n in range(300)]
    right = [n % 30 < 24 for n in range(300)]
    found = accuracy_intervals(get("ner"), rows, right)
    rowwise, clustered = (found["accuracy"][name] for name in ("wilson", "cluster_bootstrap"))
    assert rowwise == wilson(240, 300).to_dict()
    assert clustered["high"] - clustered["low"] > 2 * (rowwise["high"] - rowwise["low"])
    assert (found["n_effective"], found["cluster"], found["few_clusters"]) == (30, "text", False)


@pytest.mark.parametrize("right", [True, False])
def test_where_all_rows_agree_the_clusters_still_give_a_width(right):
    rows = [{"text": str(n % 5)} for n in range(100)]
    found = accuracy_intervals(get("ner"), rows, [right] * 100)
    expected = wilson(5 if right else 0, 5)
    clustered = found["accuracy"]["cluster_bootstrap"]
    assert (clustered["low"], clustered["high"]) == (expected.low, expected.high)
    assert clustered["method"] == "wilson over clusters"
    assert found["few_clusters"]


def test_f1_is_drawn_with_its_own_confusion():
    true = ["person"] * 60 + ["location"] * 40
    read = ["person"] * 50 + ["location"] * 10 + ["location"] * 30 + [None] * 10
    rows = [{"text": str(n)} for n in range(100)]
    labels = get("ner").label_names
    found = label_intervals(get("ner"), rows, true, read, labels=labels)
    scores = label_scores(true, read, labels=labels)
    for name in ("weighted_f1", "macro_f1"):
        interval = found[name]["cluster_bootstrap"]
        assert interval["low"] < getattr(scores, name) < interval["high"]
        assert interval["high"] - interval["low"] < 0.25


def test_one_cluster_proves_little():
    true, read = ["person"] * 60 + ["location"] * 40, ["person"] * 80 + ["location"] * 20
    labels = get("ner").label_names
    scores = label_scores(true, read, labels=labels)
    same = [{"text": "x"}] * 100
    found = label_intervals(get("ner"), same, true, read, labels=labels)
    for name in ("accuracy", "weighted_f1", "macro_f1"):
        interval = found[name]["cluster_bootstrap"]
        figure = getattr(scores, name)
        # every draw is the data itself; of one cluster, four in five could be otherwise
        assert interval["low"] == pytest.approx(figure * wilson(1, 1).low)
        assert interval["high"] == pytest.approx(1 - (1 - figure) * wilson(1, 1).low)
        assert interval["method"] == "wilson over clusters"


def test_the_order_of_the_rows_does_not_matter():
    rows = [{"text": str(n % 30)} for n in range(300)]
    right = [n % 7 < 4 for n in range(300)]
    assert accuracy_intervals(get("ner"), rows, right) == accuracy_intervals(
        get("ner"), rows[::-1], right[::-1]
    )
