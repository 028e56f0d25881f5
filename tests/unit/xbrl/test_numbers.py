"""Numbers are exact whatever they look like."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.xbrl.limits import Limits
from fin_qlora.xbrl.number_words import from_words
from fin_qlora.xbrl.numbers import plain_number, plain_text, printed_number, read_decimals

LIMITS = Limits()
ONES = "zero one two three four five six seven eight nine ten eleven twelve".split()


def spell(number):
    """English words for a number below 10^12, by another way than the code's."""
    teens = [
        *ONES,
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ]
    tens = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
    if number < 20:
        return teens[number]
    if number < 100:
        return tens[number // 10] + (f"-{teens[number % 10]}" if number % 10 else "")
    for power, name in ((9, "billion"), (6, "million"), (3, "thousand"), (2, "hundred")):
        if number >= 10**power:
            rest = number % 10**power
            return f"{spell(number // 10**power)} {name}" + (f" {spell(rest)}" if rest else "")
    raise AssertionError


@given(st.integers(0, 10**12 - 1))
def test_words_are_numbers(number):
    assert from_words(spell(number)) == number
    assert from_words(spell(number).title()) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "two two",
        "hundred",
        "million",
        "one billion one billion",
        "five apples",
        "and",
        "twenty twelve",
        "x" * 300,
    ],
)
def test_other_words_are_none(text):
    assert from_words(text) is None


@given(st.integers(-(10**15), 10**15), st.integers(-6, 9))
def test_a_printed_number_comes_back_whole(digits, scale):
    printed = f"{abs(digits):,}"
    read = printed_number(
        printed,
        form="num-dot-decimal",
        scope=None,
        scale=str(scale),
        sign="-" if digits < 0 else "",
        limits=LIMITS,
    )
    assert read == Decimal(digits).scaleb(scale)
    assert plain_number(plain_text(read), limits=LIMITS) == read


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=5
    )
)
def test_plain_text_is_canonical(value):
    text = plain_text(value)
    assert Decimal(text) == value
    assert "E" not in text
    assert not text.startswith("-0") or "." in text
    assert text == "0" or not text.endswith(".")


@pytest.mark.parametrize(
    ("decimals", "precision", "value", "read"),
    [
        ("-6", None, "1", -6),
        ("INF", None, "1", "INF"),
        (None, "INF", "1", "INF"),
        (None, "3", "1230", -1),
        (None, "2", "0.0123", 3),
        (None, "4", "0", 3),
        (None, "0", "5", None),
        (None, None, "5", None),
        ("many", None, "5", None),
        ("99999999", None, "5", None),
    ],
)
def test_accuracy(decimals, precision, value, read):
    assert read_decimals(decimals, precision, Decimal(value)) == read
