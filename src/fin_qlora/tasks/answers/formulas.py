"""Answers that are a formula over tags, or the result of one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, TypeAlias

from .expression import FormulaError, Node, Operand, evaluate, operands, parse_formula
from .outcome import LONGEST, Outcome, Score, said
from .tags import parse_tag
from .values import half_unit, parse_number

#: What a prompt asks for, in words.
FORMULA_RULE: Final = (
    "Answer with the formula alone, written with tags of the segment, + - * / and brackets. "
    "Where one tag is needed at two dates, write tag@date with the day that its period ends."
)
CALCULATION_RULE: Final = "Answer with the number alone, rounded as the question says."

#: How a question asks for a result: 0.4413, 44.13 (percent), days, times, or an amount of money.
ResultForm: TypeAlias = Literal["fraction", "percent", "days", "times", "amount"]

_ASSIGNMENTS: Final = 6
_RELATIVE: Final = Fraction(1, 10_000)
_SCALES = tuple(Fraction(10) ** power for power in (2, -2, 3, -3, 6, -6, 9, -9))


def score_formula(text: str, expected: str, *, alternatives: Sequence[str] = ()) -> Score:
    """Score a formula by what it means: the same tags, the same result whatever their values.

    (a - b) / c equals a/c - b/c. ``scale`` says that the two differ by a factor of 100.
    """
    spoken = said(text[:LONGEST]).strip("`").strip()
    try:
        answer = parse_formula(spoken.removesuffix("."))
    except FormulaError as error:
        return Score("none", None, (str(error),))
    if not operands(answer):
        return Score("wrong", spoken, ("no tag",))
    outcomes = [_compare(answer, parse_formula(text)) for text in (expected, *alternatives)]
    best = min(outcomes, key=("exact", "scale", "wrong").index)
    return Score(best, spoken)


def _compare(answer: Node, wanted: Node) -> Outcome:
    names = operands(wanted)
    if operands(answer) != names:
        return "wrong"
    ordered = sorted(names, key=str)
    seed = hashlib.sha256(" ".join(map(str, ordered)).encode()).digest()
    source = random.Random(seed)
    factors: set[Fraction] = set()
    tried = 0
    while tried < _ASSIGNMENTS:
        values: dict[Operand, Fraction] = {
            name: Fraction(source.randint(1, 10**9), source.randint(1, 10**4)) for name in ordered
        }
        tried += 1
        try:
            left, right = evaluate(answer, values), evaluate(wanted, values)
        except ZeroDivisionError:
            return "wrong"  # random operands do not meet a zero unless the formula makes one
        if not left or not right:
            factors.add(Fraction(1) if left == right else Fraction(0))
        else:
            factors.add(left / right)
    if factors == {Fraction(1)}:
        return "exact"
    return "scale" if factors <= {Fraction(100)} or factors <= {Fraction(1, 100)} else "wrong"


def score_calculation(
    text: str, expected: Decimal | str, *, form: ResultForm, decimals: int
) -> Score:
    """Score the result of a formula, or the formula with its numbers filled in.

    Args:
        expected: the result in the declared form: 44.13 for a percentage, 0.4413 for a fraction.
        form: the form that the question asks for; a percent sign in the answer is understood.
        decimals: the decimals that the question asks for.

    An answer counts as exact within half a unit of the asked decimals or one part in ten thousand.
    """
    value = _result(text, form)
    if value is None:
        return Score("none")
    wanted = Fraction(Decimal(expected))
    read = f"{float(value):.10g}"
    tolerance = max(abs(wanted) * _RELATIVE, Fraction(half_unit(decimals)))
    if abs(value - wanted) <= tolerance:
        return Score("exact", read)
    if abs(value + wanted) <= tolerance:
        return Score("sign", read)
    if any(abs(value * scale - wanted) <= abs(wanted) * _RELATIVE for scale in _SCALES):
        return Score("scale", read)
    return Score("wrong", read)


def _result(text: str, form: ResultForm) -> Fraction | None:
    if (tag := parse_tag(text)) is not None and tag[0] is not None:
        return None
    number = parse_number(text)
    if number is not None:
        value = Fraction(number.value)
        return value * 100 if number.percent and form == "percent" else value
    try:
        node = parse_formula(said(text[:LONGEST]).strip("`"))
        return None if operands(node) else evaluate(node, {})
    except (FormulaError, ZeroDivisionError):
        return None
