"""Reading answers strictly, one small parser for each grammar that a task may name.

A parser takes the text and the task's labels, and returns the answer in one spelling, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..prompts.contract import Grammar as Answer
from .answers import (
    FormulaError,
    is_not_reported,
    parse_formula,
    parse_number,
    parse_tag,
)
from .answers.tags import NOT_REPORTED

__all__ = ["ANSWERS", "Answer", "Parser"]

Parser = Callable[[str, Sequence[str]], str | None]


def read_label(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that the text is, to the letter."""
    spoken = text.strip()
    return spoken if spoken in labels else None


def read_tag(text: str, _: Sequence[str] = ()) -> str | None:
    """Return the only tag in the text, ``prefix:Name``; a missing prefix stays missing."""
    found = parse_tag(text)
    if found is None:
        return None
    prefix, name = found
    return name if prefix is None else f"{prefix}:{name}"


def read_number(text: str, _: Sequence[str] = ()) -> str | None:
    """Return the only number in the text as plain decimals, or NOT_REPORTED."""
    if is_not_reported(text):
        return NOT_REPORTED
    found = parse_number(text)
    if found is None:
        return None
    value = format(found.value, "f")
    return value.rstrip("0").rstrip(".") if "." in value else value


def read_formula(text: str, _: Sequence[str] = ()) -> str | None:
    """Return the formula that the text is, as it is written."""
    spoken = text.strip()
    try:
        parse_formula(spoken)
    except FormulaError:
        return None
    return spoken


def read_calculation(text: str, _: Sequence[str] = ()) -> str | None:
    """Return a result, or the expression of numbers that gives it."""
    return read_formula(text) if any(sign in text for sign in "*/+(") else read_number(text)


def read_text(text: str, _: Sequence[str] = ()) -> str | None:
    """Return the text without blanks at its ends; nothing at all is no answer."""
    return text.strip() or None


def read_list(text: str, _: Sequence[str] = ()) -> str | None:
    """Return answers separated by commas, in their order, none of them empty."""
    parts = [part.strip() for part in text.split(",")]
    return ",".join(parts) if all(parts) else None


ANSWERS: Final[Mapping[Answer, Parser]] = {
    "label": read_label,
    "tag": read_tag,
    "number": read_number,
    "formula": read_formula,
    "calculation": read_calculation,
    "context": read_text,
    "text": read_text,
    "list": read_list,
}
