"""A number is read however people write it, and only when there is one."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.tasks.answers import parse_number, score_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("143566000000", "143566000000"),
        ("80000000.0", "80000000"),
        ("Answer: 17", "17"),
        ("1,234,567", "1234567"),
        ("$ 24,886,000,000", "24886000000"),
        ("24,886,000,000 USD", "24886000000"),
        ("US$5", "5"),
        ("€5.5 bn", "5500000000"),
        ("$1.5 billion", "1500000000"),
        ("$(1.5) billion", "-1500000000"),
        ("(1,234)", "-1234"),
        ("($1,234)", "-1234"),
        ("$(1,234)", "-1234"),
        ("\u22125", "-5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("$ -5", "-5"),
        ("5M", "5000000"),
        ("5 mn", "5000000"),
        ("12k", "12000"),
        ("3 trillion", "3000000000000"),
        ("1.5e9", "1500000000"),
        ("1.5E-2", "0.015"),
        ("12.5%", "0.125"),
        ("(3)%", "-0.03"),
        (".5", "0.5"),
        ("5.", "5"),
        ("The value is 1,234.50.", "1234.50"),
        ("5 = 5", "5"),
        ("143,566 million dollars", "143566000000"),
        ("3 months", "3"),
        ("0", "0"),
    ],
)
def test_numbers(text, value):
    number = parse_number(text)
    assert number is not None
    assert number.value == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "none",
        "5 and 6",
        "5-6",
        "2023-09-30",
        "10-K",
        "Q4",
        "FY 2023 was 5",
        "1,23,456",
        "1.234.567",
        "1.234,56",
        "12:30",
        "1/2",
        "-(5)",
        "(5",
        "--5",
        "5 million thousand",
        "1e999999",
        "1" * 61,
        "5 " * 2000,
        "NOT_REPORTED",
    ],
)
def test_what_is_no_single_number(text):
    assert parse_number(text) is None


@given(st.integers(-(10**18), 10**18))
def test_every_way_to_write_a_whole_number(number):
    size = f"{abs(number):,}"
    ways = [str(number), f"{number:,}", f"{number}.0", f"${number}", f"Answer: {number:,}"]
    ways.append(f"({size})" if number < 0 else f"${size}")
    for way in ways:
        read = parse_number(way)
        assert read is not None, way
        assert read.value == number


@given(st.text(max_size=60))
def test_no_text_is_an_error(text):
    parse_number(text)
    score_value(text, "5")


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("19454000000", "exact"),
        ("$19.454 billion", "exact"),
        ("19500000000", "rounded"),
        ("19454400000", "rounded"),
        ("-19454000000", "sign"),
        ("19454", "scale"),
        ("19454000", "scale"),
        ("1945400000000", "scale"),
        ("194540000000", "wrong"),
        ("19600000000", "wrong"),
        ("NOT_REPORTED", "wrong"),
        ("no idea", "none"),
    ],
)
def test_classes(text, outcome):
    score = score_value(text, "19454000000", decimals=-6, alternatives=["19500000000"])
    assert score.outcome == outcome
    assert score.correct == (outcome == "exact")
    assert score.correct_when_rounded == (outcome in ("exact", "rounded"))


def test_zero_has_no_sign_and_no_scale():
    assert score_value("0", "0", decimals=0).outcome == "exact"
    assert score_value("-0.0", "0").outcome == "exact"
    assert score_value("100", "0").outcome == "wrong"
    assert score_value("5.001", "5", decimals="INF").outcome == "wrong"
