"""Accuracy, weighted F1 and majority on counts done by hand."""

from __future__ import annotations

import pytest

from fin_qlora.errors import EmptyDatasetError
from fin_qlora.evaluation import label_scores


def test_scores_by_hand():
    scores = label_scores(["a", "a", "a", "b"], ["a", "a", "b", "b"], labels=("a", "b", "c"))
    assert scores.n == 4
    assert scores.accuracy == 0.75
    assert scores.majority == 0.75
    # a: precision 1, recall 2/3, F1 0.8; b: precision 1/2, recall 1, F1 2/3
    assert scores.weighted_f1 == pytest.approx(0.75 * 0.8 + 0.25 * 2 / 3)
    assert scores.confusion["a"] == {"a": 2, "b": 1, "c": 0}


def test_no_row_is_an_error():
    with pytest.raises(EmptyDatasetError):
        label_scores([], [], labels=("a", "b"))


def test_the_evaluate_metric_gives_the_same_figures():
    from fin_qlora.evaluation.metric import LabelMetric

    true, predicted, labels = ["a", "a", "b", "b", "b"], ["a", "b", "b", "b", "a"], ["a", "b"]
    scores = label_scores(true, predicted, labels=labels)
    result = LabelMetric().compute(predictions=predicted, references=true, labels=labels)
    assert result == {
        "accuracy": scores.accuracy,
        "weighted_f1": scores.weighted_f1,
        "majority": scores.majority,
    }
