"""Scores of labels on counts done by hand, and beside scikit-learn's."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from fin_qlora.errors import DataError, EmptyDatasetError
from fin_qlora.evaluation.metrics import INVALID, label_scores
from fin_qlora.evaluation.metrics_certainty import certainty


def test_scores_by_hand():
    scores = label_scores(["a", "a", "a", "b"], ["a", "a", "b", "b"], labels=("a", "b", "c"))
    assert scores.n == 4
    assert scores.accuracy == 0.75
    # a: precision 1, recall 2/3, F1 0.8; b: precision 1/2, recall 1, F1 2/3
    assert scores.weighted_f1 == pytest.approx(0.75 * 0.8 + 0.25 * 2 / 3)
    assert scores.macro_f1 == pytest.approx((0.8 + 2 / 3) / 3)
    assert scores.per_label["a"].precision == 1
    assert scores.per_label["a"].recall == 2 / 3
    assert scores.per_label["b"].precision == 0.5
    assert [scores.per_label[label].support for label in "abc"] == [3, 1, 0]
    assert scores.confusion["a"] == {"a": 2, "b": 1, "c": 0}
    assert (scores.invalid, scores.certainty) == (0, None)
    assert scores.figures() == {"accuracy": 0.75, "weighted_f1": scores.weighted_f1}


def test_what_is_no_label_is_a_class_of_its_own():
    scores = label_scores(["a", "a", "b", "b"], ["a", None, "no idea", INVALID], labels=("a", "b"))
    assert scores.invalid == 3
    assert scores.accuracy == 0.25
    assert scores.confusion == {
        "a": {"a": 1, "b": 0, INVALID: 1},
        "b": {"a": 0, "b": 0, INVALID: 2},
    }
    # it is a miss of the true label, and a false find of none
    assert scores.per_label["a"].precision == 1
    assert scores.per_label["a"].recall == 0.5
    assert scores.weighted_f1 == pytest.approx(0.5 * 2 / 3)


def test_baselines_by_hand():
    scores = label_scores(["a", "a", "a", "b"], ["b"] * 4, labels=("a", "b"))
    assert (scores.majority, scores.random) == (0.75, 0.5)
    # always a: precision 3/4, recall 1, F1 6/7; b has none
    assert scores.baselines["majority"] == pytest.approx(
        {"accuracy": 0.75, "weighted_f1": 0.75 * 6 / 7, "macro_f1": 3 / 7}
    )
    # each half of the time: a has precision 3/4 and recall 1/2, b 1/4 and 1/2
    a, b = 2 * 1.5 / (2 + 3), 2 * 0.5 / (2 + 1)
    assert scores.baselines["random"] == pytest.approx(
        {"accuracy": 0.5, "weighted_f1": 0.75 * a + 0.25 * b, "macro_f1": (a + b) / 2}
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_those_of_scikit_learn(seed):
    source = random.Random(seed)
    labels = ["a", "b", "c", "d"]
    true = source.choices(labels, weights=(8, 3, 1, 0), k=60)
    read = source.choices([*labels, "?"], weights=(5, 3, 2, 1, 2), k=60)
    scores = label_scores(true, read, labels=labels)
    options = {"labels": labels, "zero_division": 0.0}
    assert scores.weighted_f1 == pytest.approx(f1_score(true, read, average="weighted", **options))
    assert scores.macro_f1 == pytest.approx(f1_score(true, read, average="macro", **options))
    for name, theirs in (
        ("precision", precision_score(true, read, average=None, **options)),
        ("recall", recall_score(true, read, average=None, **options)),
    ):
        ours = [getattr(scores.per_label[label], name) for label in labels]
        assert ours == pytest.approx(list(theirs))


def test_certainty_by_hand():
    rows = [{"a": 0.9, "b": 0.1}, {"a": 0.6, "b": 0.4}, {"a": 0.4, "b": 0.6}, {"a": 0.2, "b": 0.8}]
    found = certainty(["a", "b", "b", "b"], rows)
    # squared errors over both labels: 0.02, 0.72, 0.32, 0.08
    assert found.brier == pytest.approx((0.02 + 0.72 + 0.32 + 0.08) / 4)
    # bins of a fifteenth: 0.9 and 0.8 alone, both 0.6 together with one of two right
    assert found.expected_calibration_error == pytest.approx((0.1 + 2 * 0.1 + 0.2) / 4)
    shares = {one.n: (one.threshold, one.share, one.accuracy) for one in found.abstention}
    assert shares == {
        4: (0.6, 1.0, pytest.approx(0.75)),
        2: (0.8, 0.5, 1.0),
    }


def test_a_sure_model_that_is_always_right_is_calibrated():
    found = certainty(["a", "b"], [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}])
    assert (found.expected_calibration_error, found.brier) == (0, 0)


@pytest.mark.parametrize(
    ("true", "rows"),
    [
        (["a"], [{"a": 0.9, "b": 0.9}]),
        (["a"], [{"a": float("nan"), "b": 0.5}]),
        (["c"], [{"a": 0.5, "b": 0.5}]),
        (["a", "b"], [{"a": 0.5, "b": 0.5}]),
        (["a", "a"], [{"a": 0.5, "b": 0.5}, {"a": 1.0}]),
    ],
)
def test_what_is_no_probability_is_an_error(true, rows):
    with pytest.raises(DataError):
        certainty(true, rows)


def test_rows_that_cannot_be_scored():
    with pytest.raises(EmptyDatasetError):
        label_scores([], [], labels=("a", "b"))
    with pytest.raises(DataError, match="'c' is none of a, b"):
        label_scores(["c"], ["a"], labels=("a", "b"))
    with pytest.raises(DataError, match="2 true labels and 1 predicted"):
        label_scores(["a", "b"], ["a"], labels=("a", "b"))
    with pytest.raises(EmptyDatasetError):
        certainty([], [])


@pytest.mark.parametrize("labels", [("a", INVALID), ("a", "b", "a")])
def test_labels_that_cannot_be_told_apart(labels):
    # an unreadable answer would be right where the label is called invalid
    with pytest.raises(DataError, match="cannot be told apart"):
        label_scores(["a", "a"], ["a", None], labels=labels)


def test_the_row_whose_scores_are_no_probabilities_is_named():
    with pytest.raises(DataError, match=r"row 2 .*0\.7"):
        certainty(["a", "a"], [{"a": 0.5, "b": 0.5}, {"a": 0.7, "b": 0.7}])
