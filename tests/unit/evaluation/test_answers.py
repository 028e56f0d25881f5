"""Figures of free answers, counted by hand."""

from __future__ import annotations

import pytest

from fin_qlora.errors import EmptyDatasetError
from fin_qlora.evaluation.answers import AnswerScores, ScoredAnswer, answer_scores
from fin_qlora.tasks import get


def scores(task: str, *pairs: tuple[str, str], finished: bool = True) -> AnswerScores:
    chosen = get(task)
    answers = [
        ScoredAnswer(
            gold=gold,
            output=output,
            finished=finished,
            score=chosen.score(output, {"label": gold}),
        )
        for output, gold in pairs
    ]
    return answer_scores(answers, metrics=chosen.metrics)


def test_outcomes_are_counted_and_only_exact_ones_are_right():
    found = scores(
        "xbrl_value",
        ("1500", "1500"),
        ("1.5 thousand", "1500"),
        ("-1500", "1500"),
        ("1500000", "1500"),
        ("17", "7"),
        ("no idea", "8"),
    )
    assert (found.n, found.accuracy, found.majority) == (6, 2 / 6, 4 / 6)
    assert found.outcomes == {
        "exact": 2,
        "rounded": 0,
        "scale": 1,
        "sign": 1,
        "wrong": 1,
        "none": 1,
    }
    assert found.invalid == 1
    assert found.unfinished == 0
    assert found.metrics == {"exact_match": 1 / 6}
    assert found.accuracy_when_rounded == 2 / 6


def test_f1_takes_right_answers_for_classes():
    a, b = "us-gaap:Cash", "us-gaap:Debt"
    found = scores("finer", (a, a), (a, b), ("nothing at all", a), ("Debt", b), finished=False)
    # Cash: precision 1/2, recall 1/2; Debt: precision 1, recall 1/2, the prefix may be missing
    assert found.accuracy == 0.5
    assert found.metrics["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # two right of three that were answered and four that were asked
    assert found.metrics["micro_f1"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    assert found.unfinished == 4


def test_a_wrong_tag_without_its_prefix_is_a_false_find_of_its_class():
    a, b = "us-gaap:Cash", "us-gaap:Debt"
    bare = scores("finer", (a, a), ("Cash", b), (b, b))
    whole = scores("finer", (a, a), (a, b), (b, b))
    assert bare.metrics == whole.metrics
    assert whole.metrics["macro_f1"] == pytest.approx(2 / 3)
    # two tags of one name: which one is meant cannot be said
    other = "own:Cash"
    unclear = scores("finer", (a, a), (other, other), ("Cash", b))
    assert unclear.metrics["macro_f1"] == pytest.approx(2 / 3)


def test_prose_is_told_by_its_words():
    found = scores(
        "xbrl_term", ("The cash.", "cash"), ("cash of banks", "cash in banks"), ("", "debt")
    )
    assert found.accuracy == 1 / 3
    assert found.outcomes["none"] == 1
    assert found.metrics["exact_match"] == 0
    assert found.metrics["token_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_answers_that_training_has_are_told_from_those_it_has_not():
    tag = get("finer")
    answers = [
        ScoredAnswer(gold=gold, output=out, finished=True, score=tag.score(out, {"label": gold}))
        for out, gold in (("Cash", "us-gaap:Cash"), ("Debt", "us-gaap:Cash"), ("X", "us-gaap:Y"))
    ]
    found = answer_scores(answers, metrics=(), seen={"us-gaap:Cash", "us-gaap:Debt"})
    assert found.by_seen == {
        "seen": {"n": 2, "accuracy": 0.5},
        "unseen": {"n": 1, "accuracy": 0},
    }
    everything = answer_scores(answers, metrics=(), seen=["us-gaap:Cash", "us-gaap:Y"])
    assert everything.by_seen["unseen"] == {"n": 0, "accuracy": None}
    assert answer_scores(answers, metrics=()).by_seen is None


def test_no_row_is_an_error():
    with pytest.raises(EmptyDatasetError):
        answer_scores([], metrics=("accuracy",))
