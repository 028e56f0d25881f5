"""Printed numbers into exact decimals: the formats of inline documents, scale, sign, accuracy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from typing import Final

from .facts import EXACT, Decimals
from .limits import Limits
from .number_words import from_words

#: Room for every number within the limits, so that no operation ever rounds.
ARITHMETIC: Final = Context(prec=400, Emax=999_999, Emin=-999_999)

_PLAIN = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE]([+-]?\d{1,6}))?")
_REGISTRY = re.compile(
    r"https?://www\.(?:xbrl\.org(?:/2008)?|sec\.gov)/inlineXBRL/transformation/[\d-]+"
)
_DASHES = frozenset("-‐‑‒–—―−")


class NumberError(Exception):
    """A number cannot be read; the message is a reason that reports count by."""


def plain_number(text: str, *, limits: Limits) -> Decimal:
    """Read a number as XML writes it: digits, a point, perhaps an exponent."""
    text = text.strip()
    found = _PLAIN.fullmatch(text)
    if not found or not text.isascii():
        raise NumberError("not a number")
    if sum(character.isdigit() for character in text) > limits.digits:
        raise NumberError(f"more than {limits.digits} digits")
    if found[1] and abs(int(found[1])) > limits.scale:
        raise NumberError(f"an exponent beyond {limits.scale}")
    return Decimal(text)


def printed_number(
    text: str,
    *,
    form: str,
    scope: Mapping[str | None, str] | None,
    scale: str,
    sign: str,
    limits: Limits,
) -> Decimal:
    """Return the full value of a number as an inline document prints it.

    Args:
        form: the format attribute, ``ixt:num-dot-decimal``, or empty.
        scope: prefix -> namespace where the element stands; None trusts the prefix.
        scale: the power of ten that the print leaves out, as written.
        sign: ``-`` when the print shows a negative number without a sign.

    Raises:
        NumberError: the format is not one of those that are read, or the text does not fit it.
    """
    text = text.strip()
    if form:
        prefix, _, name = form.strip().rpartition(":")
        known = scope is None or _REGISTRY.fullmatch(scope.get(prefix or None, ""))
        if not known or name not in FORMATS:
            raise NumberError(f"format {name[:40] or 'without a name'} is not read")
        text = FORMATS[name](text)
    elif text.startswith(("-", "+")):
        raise NumberError("a printed sign without a format")
    value = plain_number(text, limits=limits)
    try:
        power = int(scale or "0")
    except ValueError:
        raise NumberError("a scale that is not a whole number") from None
    if abs(power) > limits.scale:
        raise NumberError(f"a scale beyond {limits.scale}")
    if sign not in ("", "-"):
        raise NumberError("a sign attribute other than '-'")
    value = value.scaleb(power, ARITHMETIC)
    return value.copy_negate() if sign else value


def read_decimals(decimals: str | None, precision: str | None, value: Decimal) -> Decimals:
    """Return the accuracy of a value as a count of decimals, from either of XBRL's two forms.

    Returns None where the document states none.
    """
    stated = (decimals or "").strip()
    if stated == EXACT or (precision or "").strip() == EXACT:
        return EXACT
    try:
        if stated:
            return int(stated) if abs(int(stated)) <= 1000 else None
        digits = int((precision or "").strip() or "0")
    except ValueError:
        return None
    if digits < 1 or digits > 1000:
        return None
    return digits - 1 - (value.adjusted() if value else 0)


def plain_text(value: Decimal) -> str:
    """Return a number in full, without exponent, sign of zero or trailing zeros: ``1250.5``."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _grouped(point: str, groups: str) -> Callable[[str], str]:
    pattern = re.compile(
        rf"[\d{re.escape(groups)}\s]*\d[\d{re.escape(groups)}\s]*(?:{re.escape(point)}[\d\s]*)?"
        rf"|{re.escape(point)}[\d\s]*\d[\d\s]*"
    )
    drop = re.compile(rf"[{re.escape(groups)}\s]")

    def read(text: str) -> str:
        if len(text) > 200 or not pattern.fullmatch(text):
            raise NumberError("text that does not fit its format")
        return drop.sub("", text).replace(point, ".")

    return read


def _dash(text: str) -> str:
    if text not in _DASHES:
        raise NumberError("text that does not fit its format")
    return "0"


def _words(text: str) -> str:
    number = from_words(text)
    if number is None:
        raise NumberError("text that does not fit its format")
    return str(number)


_POINT, _COMMA = _grouped(".", ","), _grouped(",", ".")

#: What each format of the registries does; every other format is rejected and counted.
FORMATS: Final[Mapping[str, Callable[[str], str]]] = {
    "num-dot-decimal": _POINT,
    "numdotdecimal": _POINT,
    "numcommadot": _POINT,
    "numspacedot": _POINT,
    "num-comma-decimal": _COMMA,
    "numcommadecimal": _COMMA,
    "numdotcomma": _COMMA,
    "numspacecomma": _COMMA,
    "numcomma": _COMMA,
    "fixed-zero": lambda text: "0",
    "zerodash": _dash,
    "numdash": _dash,
    "numwordsen": _words,
}
