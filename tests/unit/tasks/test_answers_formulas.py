"""Formulas count by what they mean; nothing in them is ever run."""

import operator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.tasks.answers import (
    FormulaError,
    evaluate,
    operands,
    parse_formula,
    score_calculation,
    score_formula,
)

MARGIN = "(us-gaap:Revenues - us-gaap:CostOfRevenue) / us-gaap:Revenues"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (MARGIN, "exact"),
        (f"Answer: {MARGIN}", "exact"),
        (f"({MARGIN})", "exact"),
        ("(US-GAAP:Revenues − us-gaap:CostOfRevenue) ÷ us-gaap:Revenues", "exact"),
        ("us-gaap:Revenues/us-gaap:Revenues-us-gaap:CostOfRevenue/us-gaap:Revenues", "exact"),
        ("1 - us-gaap:CostOfRevenue / us-gaap:Revenues", "exact"),
        ("-(us-gaap:CostOfRevenue - us-gaap:Revenues) / us-gaap:Revenues", "exact"),
        (f"{MARGIN} * 100", "scale"),
        (f"({MARGIN}) / 100", "scale"),
        (f"({MARGIN}) * 1,000", "wrong"),
        ("us-gaap:Revenues / (us-gaap:Revenues - us-gaap:CostOfRevenue)", "wrong"),
        ("us-gaap:GrossProfit / us-gaap:Revenues", "wrong"),
        ("us-gaap:Revenues - us-gaap:CostOfRevenue", "wrong"),
        ("us-gaap:Revenues / (us-gaap:CostOfRevenue - us-gaap:CostOfRevenue)", "wrong"),
        ("5 / 6", "wrong"),
        ("us-gaap:Revenues / us-gaap:CostOfRevenue) * 100", "none"),
        ("(us-gaap:Revenues", "none"),
        ("us-gaap:Revenues ** us-gaap:CostOfRevenue", "none"),
        ("max(us-gaap:Revenues, us-gaap:CostOfRevenue)", "none"),
        ("__import__('os').system('true')", "none"),
        ("us-gaap:Revenues us-gaap:CostOfRevenue", "none"),
        ("", "none"),
        ("gross profit over revenue", "none"),
    ],
)
def test_formulas(text, outcome):
    assert score_formula(text, MARGIN).outcome == outcome


def test_dates_are_part_of_an_operand():
    wanted = "us-gaap:A@2023-12-31 / us-gaap:A@2022-12-31 - 1"
    same = "(us-gaap:A@2023-12-31 - us-gaap:A@2022-12-31) / us-gaap:A@2022-12-31"
    assert score_formula(same, wanted).outcome == "exact"
    assert score_formula("us-gaap:A / us-gaap:A - 1", wanted).outcome == "wrong"


def test_other_right_answers_count():
    other = "us-gaap:GrossProfit / us-gaap:Revenues"
    assert score_formula(other, MARGIN).outcome == "wrong"
    assert score_formula(other, MARGIN, alternatives=[other]).outcome == "exact"


@pytest.mark.parametrize(
    "text",
    [
        "us-gaap:A +" * 100,
        "(" * 60 + "us-gaap:A" + ")" * 60,
        "-" * 60 + "us-gaap:A",
        "9" * 61,
        "us-gaap:A / 1.2.3",
        "us-gaap:",
        "us-gaap:A @2023-12-31",
    ],
)
def test_what_is_no_formula(text):
    with pytest.raises(FormulaError):
        parse_formula(text)


@given(st.text(alphabet="us-gap:AB()+-*/ 0123456789.,@", max_size=80))
def test_no_text_is_an_error(text):
    score_formula(text, MARGIN)
    score_calculation(text, "1.5", form="times", decimals=2)


OPERANDS = {
    "us-gaap:A": Fraction(7, 3),
    "us-gaap:B": Fraction(-5, 2),
    "2": Fraction(2),
    "0.5": Fraction(1, 2),
}
SIGNS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
TREES = st.recursive(
    st.sampled_from(sorted(OPERANDS)),
    lambda inner: st.tuples(inner, st.sampled_from(sorted(SIGNS)), inner),
    max_leaves=8,
)


def write(tree):
    if isinstance(tree, str):
        return tree
    left, sign, right = tree
    return f"({write(left)} {sign} {write(right)})"


def compute(tree):
    if isinstance(tree, str):
        return OPERANDS[tree]
    left, sign, right = tree
    return SIGNS[sign](compute(left), compute(right))


@given(TREES)
def test_the_value_of_a_formula_is_that_of_arithmetic(tree):
    node = parse_formula(write(tree))
    values = {name: OPERANDS[str(name)] for name in operands(node)}
    try:
        expected = compute(tree)
    except ZeroDivisionError:
        with pytest.raises(ZeroDivisionError):
            evaluate(node, values)
        return
    assert evaluate(node, values) == expected


@pytest.mark.parametrize(
    ("text", "form", "expected", "decimals", "outcome"),
    [
        ("44.13", "percent", "44.13", 2, "exact"),
        ("44.13%", "percent", "44.13", 2, "exact"),
        ("44.134", "percent", "44.13", 2, "exact"),
        ("(44130 / 100000) * 100", "percent", "44.13", 2, "exact"),
        ("0.4413", "percent", "44.13", 2, "scale"),
        ("44.13%", "fraction", "0.4413", 4, "exact"),
        ("44.13", "fraction", "0.4413", 4, "scale"),
        ("-0.4413", "fraction", "0.4413", 4, "sign"),
        ("0.45", "fraction", "0.4413", 4, "wrong"),
        ("$1.5 billion", "amount", "1500000000", 0, "exact"),
        ("1500", "amount", "1500000000", 0, "scale"),
        ("5 / 0", "fraction", "0.4413", 4, "none"),
        ("us-gaap:A / 5", "fraction", "0.4413", 4, "none"),
        ("about half", "fraction", "0.4413", 4, "none"),
    ],
)
def test_results(text, form, expected, decimals, outcome):
    assert score_calculation(text, expected, form=form, decimals=decimals).outcome == outcome
    assert (
        score_calculation(text, Decimal(expected), form=form, decimals=decimals).outcome == outcome
    )
