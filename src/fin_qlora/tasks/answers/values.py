"""Answers that are one number, however people write it: ``$(1.5) billion`` is -1500000000."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Final, Literal, TypeAlias

from .outcome import LONGEST, Outcome, Score, said
from .tags import is_not_reported

#: What a prompt asks for, in words.
VALUE_RULE: Final = (
    "Answer with the number alone, in full units: no separators, no currency sign, "
    "a minus sign where it is negative."
)

#: How accurate an expected value is: decimals as XBRL counts them, ``INF``, or not known.
Accuracy: TypeAlias = int | Literal["INF"] | None

_MOST_DIGITS, _LARGEST_POWER = 60, 30
_ARITHMETIC: Final = Context(prec=400)
_POWERS: Final = {
    "k": 3,
    "thousand": 3,
    "thousands": 3,
    "m": 6,
    "mm": 6,
    "mn": 6,
    "million": 6,
    "millions": 6,
    "b": 9,
    "bn": 9,
    "billion": 9,
    "billions": 9,
    "t": 12,
    "tn": 12,
    "trillion": 12,
    "trillions": 12,
}
_CURRENCY = r"(?:US\$|USD|EUR|GBP|[$€£])"
_UNIT = r"(?:thousands?|millions?|billions?|trillions?|mm|mn|bn|tn|[kmbt])"
_NUMBER = re.compile(
    rf"(?P<outer>-\s?)?(?P<money>{_CURRENCY}\s?)?(?P<open>\(\s?)?(?P<inner>-\s?)?"
    rf"(?:{_CURRENCY}\s?)?(?P<after>-\s?)?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?P<power>[eE][+-]?\d{1,4})?"
    rf"(?P<percent>\s?%)?(?:\s?(?P<unit>{_UNIT})(?![A-Za-z]))?"
    rf"(?:\s?{_CURRENCY})?(?P<close>\s?\))?"
    rf"(?P<percent_after>\s?%)?(?:\s?(?P<unit_after>{_UNIT})(?![A-Za-z]))?",
    re.IGNORECASE,
)
_JOINS = (",", "_", "-", "/", ":")
_SCALES = tuple(sign * power for power in (2, 3, 6, 9) for sign in (1, -1))


@dataclass(frozen=True)
class Number:
    """A number as it was read. ``value`` is in full units; a percentage is already a fraction."""

    value: Decimal
    percent: bool = False


def parse_number(text: str) -> Number | None:
    """Return the only number in an answer.

    Reads thousands commas, currencies, brackets and U+2212 for negative, percent signs, scale
    words and exponents. Returns None where there is no number, or more than one distinct one:
    dates, ranges and sentences about other figures are not guessed at.
    """
    spoken = said(text)
    if len(spoken) > LONGEST:
        return None
    spoken = spoken.replace("\u2212", "-").replace("\u00a0", " ")
    found: set[Number] = set()
    position = 0
    while match := _NUMBER.search(spoken, position):
        number = _read(match, spoken)
        if number is None:
            return None
        found.add(number)
        position = match.end()
    return found.pop() if len(found) == 1 else None


def _read(match: re.Match[str], text: str) -> Number | None:
    start, end = match.start("digits"), match.end("power")
    end = match.end("digits") if end < 0 else end
    before = text[start - 1 : start] if match.start() == start else text[: match.start()][-1:]
    glued = before.isalnum() or before in (".", ",", "_") or (before == "-" and start > 1)
    digits = match["digits"].replace(",", "")
    if glued or (text[end : end + 1] in _JOINS and text[end + 1 : end + 2].isalnum()):
        return None
    if sum(character.isdigit() for character in digits) > _MOST_DIGITS:
        return None
    minus = sum(match[name] is not None for name in ("outer", "inner", "after"))
    brackets = match["open"] is not None
    if minus > 1 or (brackets and match["close"] is None) or (brackets and minus):
        return None
    units = [match[name] for name in ("unit", "unit_after") if match[name]]
    percents = [match[name] for name in ("percent", "percent_after") if match[name]]
    if len(units) > 1 or len(percents) > 1:
        return None
    power = int(match["power"][1:]) if match["power"] else 0
    if abs(power) > _LARGEST_POWER:
        return None
    power += _POWERS[units[0].lower()] if units else 0
    power -= 2 if percents else 0
    try:
        value = Decimal(digits).scaleb(power, _ARITHMETIC)
    except InvalidOperation:
        return None
    return Number(value.copy_negate() if minus or brackets else value, bool(percents))


def score_value(
    text: str,
    expected: Decimal | str,
    *,
    decimals: Accuracy = None,
    alternatives: Sequence[Decimal | str] = (),
) -> Score:
    """Score an answer against a value in full units.

    Args:
        decimals: the accuracy that the filing states; an answer within half a unit of it is
            ``rounded``.
        alternatives: values that the filing reports for the same fact with less accuracy.
    """
    number = parse_number(text)
    if number is None:
        return Score("wrong", "NOT_REPORTED") if is_not_reported(text) else Score("none")
    wanted = Decimal(expected)
    others = [Decimal(other) for other in alternatives]
    return Score(_compare(number.value, wanted, half_unit(decimals), others), str(number.value))


def half_unit(decimals: Accuracy) -> Decimal:
    """Return half a unit of the stated decimals, zero where a value is exact or none are stated."""
    if decimals is None or decimals == "INF":
        return Decimal(0)
    return Decimal(5).scaleb(-decimals - 1, _ARITHMETIC)


def _compare(
    value: Decimal, wanted: Decimal, tolerance: Decimal, others: Sequence[Decimal]
) -> Outcome:
    if value == wanted:
        return "exact"
    if abs(value - wanted) <= tolerance or value in others:
        return "rounded"
    if wanted and value == -wanted:
        return "sign"
    if wanted and any(value == wanted.scaleb(power, _ARITHMETIC) for power in _SCALES):
        return "scale"
    return "wrong"
