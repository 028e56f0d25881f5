"""A task scores a free answer by its grammar, and by what its row says about the right one."""

from __future__ import annotations

import json

import pytest

from fin_qlora.errors import DataError, UsageError
from fin_qlora.tasks import get
from fin_qlora.tasks.answers import token_f1, words_of
from fin_qlora.tasks.grammar import ANSWERS
from fin_qlora.tasks.scoring import SCORERS

RATIO = "us-gaap:A / us-gaap:B"
PERCENT = {"formula": {"form": "percent", "decimals": 2}}


def test_there_is_a_scorer_for_every_free_grammar():
    assert set(SCORERS) == set(ANSWERS) - {"label"}


@pytest.mark.parametrize(
    ("task", "text", "gold", "more", "outcome"),
    [
        ("xbrl_tag", "us-gaap:Cash", "us-gaap:Cash", {}, "exact"),
        ("xbrl_tag", "us-gaap:Cash", "us-gaap:Debt", {}, "wrong"),
        (
            "xbrl_tag",
            "us-gaap:Cash",
            "us-gaap:Debt",
            {"alternatives": '["us-gaap:Cash"]'},
            "exact",
        ),
        ("xbrl_value", "$1.4 billion", "1400000000", {}, "exact"),
        ("xbrl_value", "1.4", "1400000000", {}, "scale"),
        ("xbrl_value", "1400400", "1400000", {"meta": '{"decimals": -3}'}, "rounded"),
        ("xbrl_value", "1400400", "1400000", {"meta": '{"decimals": null}'}, "wrong"),
        ("xbrl_value", "1400", "1400000", {"alternatives": '["1400"]'}, "rounded"),
        ("xbrl_value", "not reported", "NOT_REPORTED", {}, "exact"),
        ("xbrl_value", "0", "NOT_REPORTED", {}, "wrong"),
        ("xbrl_formula_construction", "us-gaap:A/us-gaap:B", RATIO, {}, "exact"),
        ("xbrl_formula_construction", "100 * us-gaap:A / us-gaap:B", RATIO, {}, "scale"),
        ("xbrl_formula_construction", "A over B", RATIO, {}, "none"),
        ("xbrl_formula_calculation", "44.13%", "44.13", {"meta": json.dumps(PERCENT)}, "exact"),
        ("xbrl_formula_calculation", "0.4413", "44.13", {"meta": json.dumps(PERCENT)}, "scale"),
        ("xbrl_formula_calculation", "44.13", "44.13%", {}, "exact"),
        ("xbrl_formula_calculation", "25", "(1 / 4) * 100", {}, "exact"),
        ("xbrl_formula_calculation", "(1/4)*100", "(1 / 4) * 100", {}, "exact"),
        ("xbrl_formula_calculation", "0.25", "(1 / 4) * 100", {}, "scale"),
        ("xbrl_context", "c3", "c3", {}, "exact"),
        ("xbrl_context", "c3", "c4", {}, "wrong"),
        ("financial_math", "1,234.50", "1234.50", {}, "exact"),
        ("financebench", "The Data Center.", "data center", {}, "exact"),
        ("financebench", "Graphics", "Data Center", {}, "wrong"),
        ("financebench", " ", "Data Center", {}, "none"),
    ],
)
def test_what_becomes_of_an_answer(task, text, gold, more, outcome):
    assert get(task).score(text, {"label": gold, **more}).outcome == outcome


def test_lists_are_right_in_every_place_or_not_at_all():
    assert SCORERS["list"]("a, b", "a,b", {}).outcome == "exact"
    assert SCORERS["list"]("b, a", "a,b", {}).outcome == "wrong"
    assert SCORERS["list"]("a,,b", "a,b", {}).outcome == "none"


def test_labels_are_not_scored_as_text():
    with pytest.raises(UsageError, match="Task 'tfns' has labels"):
        get("tfns").score("positive", {"label": "positive"})


@pytest.mark.parametrize(
    ("task", "gold"),
    [
        ("xbrl_formula_construction", "A over B"),
        ("xbrl_formula_calculation", "us-gaap:A / 4"),
        ("xbrl_formula_calculation", "(1 / 0) * 100"),
    ],
)
def test_a_right_answer_that_cannot_be_read_is_named(task, gold):
    with pytest.raises(DataError, match="cannot be read") as caught:
        get(task).score(RATIO, {"label": gold})
    assert repr(gold) in str(caught.value)


def test_words_are_compared_without_articles_case_and_punctuation():
    assert words_of("The profit, a 3.5 % rise!") == ["profit", "3.5", "rise"]
    assert words_of("Answer: Cash") == ["cash"]
    assert token_f1("", "") == 1
    assert token_f1("x", "") == 0
    assert token_f1("cash cash", "cash") == pytest.approx(2 / 3)
