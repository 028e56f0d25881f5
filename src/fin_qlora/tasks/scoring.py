"""What became of a free answer, one scorer for each grammar that a task may name.

A scorer takes what the model wrote, the right answer, and the row: fields that say more about the
right answer (``alternatives``, and in ``meta`` its accuracy and form) come with built questions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from .answers import (
    FormulaError,
    ResultForm,
    Score,
    evaluate,
    operands,
    parse_formula,
    parse_number,
    score_calculation,
    score_context,
    score_formula,
    score_not_reported,
    score_tag,
    score_value,
)
from .answers.tags import NOT_REPORTED
from .answers.wording import words_of
from .grammar import ANSWERS, Answer

__all__ = ["SCORERS", "Scorer"]

Row = Mapping[str, Any]
Scorer = Callable[[str, str, Row], Score]

#: Decimals of a result that is given exactly, as a formula with its numbers filled in.
_EXACT: Final = 12
#: What a result that is given as a formula has at least one of.
_SIGNS: Final = "*/+("


def score_as_tag(text: str, expected: str, row: Row) -> Score:
    """Score a tag against the right one and those that are as good."""
    return _best([score_tag(text, one) for one in (expected, *_alternatives(row))])


def score_as_number(text: str, expected: str, row: Row) -> Score:
    """Score a number by the accuracy that its filing states, or an answer that declines."""
    if expected == NOT_REPORTED:
        return score_not_reported(text)
    wanted = parse_number(expected)
    if wanted is None:
        return score_as_text(text, expected, row)
    return score_value(
        text,
        wanted.value,
        decimals=_meta(row).get("decimals"),
        alternatives=_alternatives(row),
    )


def score_as_formula(text: str, expected: str, row: Row) -> Score:
    """Score a formula over tags by what it computes."""
    return score_formula(text, expected, alternatives=_alternatives(row))


def score_as_calculation(text: str, expected: str, row: Row) -> Score:
    """Score a result in the form and with the decimals that the question asks for."""
    asked = _meta(row).get("formula") or {}
    is_formula = any(sign in expected for sign in _SIGNS)
    wanted = None if is_formula else parse_number(expected)
    if wanted is None:
        value, decimals = _computed(expected), _EXACT
    else:
        # a percentage is asked for as the number before its sign
        value = wanted.value * 100 if wanted.percent else wanted.value
        decimals = max(0, -int(value.as_tuple().exponent))
    usual: ResultForm = "percent" if wanted and wanted.percent else "times"
    form: ResultForm = asked.get("form", usual)
    return score_calculation(text, value, form=form, decimals=asked.get("decimals", decimals))


def score_as_context(text: str, expected: str, row: Row) -> Score:
    """Score the id of a context."""
    return score_context(text, expected)


def score_as_text(text: str, expected: str, row: Row) -> Score:
    """Score prose: right when its words are those of the right answer, in their order."""
    words = words_of(text)
    if not words:
        return Score("none")
    return Score("exact" if words == words_of(expected) else "wrong", text.strip())


def score_as_list(text: str, expected: str, row: Row) -> Score:
    """Score answers separated by commas: each right and in its place."""
    read = ANSWERS["list"](text, ())
    if read is None:
        return Score("none")
    return Score("exact" if read == ANSWERS["list"](expected, ()) else "wrong", read)


SCORERS: Final[Mapping[Answer, Scorer]] = {
    "tag": score_as_tag,
    "number": score_as_number,
    "formula": score_as_formula,
    "calculation": score_as_calculation,
    "context": score_as_context,
    "text": score_as_text,
    "list": score_as_list,
}


def _best(scores: Sequence[Score]) -> Score:
    return next((score for score in scores if score.correct), scores[0])


def _alternatives(row: Row) -> list[str]:
    """Return the answers that a row names as right besides its own; they stand there as JSON."""
    given = row.get("alternatives") or "[]"
    return [str(one) for one in (json.loads(given) if isinstance(given, str) else given)]


def _meta(row: Row) -> Mapping[str, Any]:
    given = row.get("meta") or "{}"
    meta: Mapping[str, Any] = json.loads(given) if isinstance(given, str) else given
    return meta


def _computed(expected: str) -> Decimal:
    """Return the result of a formula of numbers."""
    node = parse_formula(expected)
    if operands(node):
        raise FormulaError("a result with tags in it")
    result: Fraction = evaluate(node, {})
    return Decimal(result.numerator) / Decimal(result.denominator)
