"""Answers are read strictly: what is not exactly an answer is none."""

from __future__ import annotations

import pytest

from fin_qlora import tasks


@pytest.mark.parametrize(
    ("task", "text", "read"),
    [
        ("tfns", " positive ", "positive"),
        ("tfns", "positive.", None),
        ("tfns", "Positive", None),
        ("tfns", "positive or negative", None),
        ("tfns", "", None),
        ("headline", "Yes", "Yes"),
        ("headline", "yes", None),
        ("xbrl_tag", "us-gaap:Assets", "us-gaap:Assets"),
        ("xbrl_tag", "us-gaap:Assets or us-gaap:AssetsCurrent", None),
        ("xbrl_value", "3875393000000.0", "3875393000000"),
        ("xbrl_value", "$(1.5) billion", "-1500000000"),
        ("xbrl_value", "15 or 150", None),
        ("xbrl_value", "NOT_REPORTED", "NOT_REPORTED"),
        ("xbrl_formula_construction", "us-gaap:A / us-gaap:B", "us-gaap:A / us-gaap:B"),
        ("xbrl_formula_construction", "us-gaap:A ** 2", None),
        ("xbrl_formula_construction", "__import__('os')", None),
        ("xbrl_formula_calculation", "(2 / 4) * 100", "(2 / 4) * 100"),
        ("xbrl_formula_calculation", "-0.50", "-0.5"),
        ("financebench", "  because ", "because"),
        ("financebench", " ", None),
    ],
)
def test_reading_an_answer(task, text, read):
    assert tasks.get(task).parse(text) == read
