"""Formulas over tags as a small tree: four operations, brackets, numbers, tags. Nothing is run.

us-gaap:NetIncomeLoss / ((us-gaap:Assets@2023-09-30 + us-gaap:Assets@2022-09-24) / 2)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, TypeAlias

LONGEST_FORMULA: Final = 600
_DEEPEST: Final = 50
_MOST_DIGITS: Final = 60

_PREFIX, _NAME = r"[A-Za-z][A-Za-z0-9-]{0,63}", r"[A-Za-z_]\w{0,255}"
_DAY = r"\d{4}-\d{2}-\d{2}"
_TOKEN = re.compile(
    rf"\s*(?:(?P<tag>{_PREFIX}:{_NAME}(?:@{_DAY}(?:/{_DAY})?)?)"
    r"|(?P<number>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w.]))"
    r"|(?P<sign>[-+*/()]))"
)
_SAME = str.maketrans({"−": "-", "×": "*", "÷": "/", "·": "*", "[": "(", "]": ")"})

Sign: TypeAlias = Literal["+", "-", "*", "/"]


class FormulaError(ValueError):
    """A text is not a formula; the message says why in a few words."""


@dataclass(frozen=True)
class Operand:
    """A tag, with the date it is meant at where a formula needs it at two."""

    tag: str
    period: str = ""

    def __str__(self) -> str:
        return f"{self.tag}@{self.period}" if self.period else self.tag


@dataclass(frozen=True)
class Constant:
    """A number that the formula itself brings, such as 365."""

    value: Decimal


@dataclass(frozen=True)
class Negation:
    """A minus sign before a term."""

    of: Node


@dataclass(frozen=True)
class Operation:
    """One of the four operations."""

    sign: Sign
    left: Node
    right: Node


Node: TypeAlias = Operand | Constant | Negation | Operation


def parse_formula(text: str) -> Node:
    """Read a formula. Raises FormulaError on anything but the grammar of this module."""
    if len(text) > LONGEST_FORMULA:
        raise FormulaError("too long")
    parser = _Parser(list(_tokens(text.translate(_SAME))))
    node = parser.sum(0)
    if parser.peek() is not None:
        raise FormulaError("unbalanced brackets" if parser.peek() == ")" else "trailing text")
    return node


def operands(node: Node) -> frozenset[Operand]:
    """Return the operands of a formula."""
    found: set[Operand] = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, Operand):
            found.add(current)
        elif isinstance(current, Negation):
            pending.append(current.of)
        elif isinstance(current, Operation):
            pending += (current.left, current.right)
    return frozenset(found)


def evaluate(node: Node, values: Mapping[Operand, Fraction]) -> Fraction:
    """Return the exact value of a formula.

    Raises:
        KeyError: an operand has no value.
        ZeroDivisionError: a denominator is zero.
    """
    if isinstance(node, Constant):
        return Fraction(node.value)
    if isinstance(node, Operand):
        return values[node]
    if isinstance(node, Negation):
        return -evaluate(node.of, values)
    left, right = evaluate(node.left, values), evaluate(node.right, values)
    if node.sign == "+":
        return left + right
    if node.sign == "-":
        return left - right
    return left * right if node.sign == "*" else left / right


def _tokens(text: str) -> Iterator[str]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise FormulaError("text that is no tag, number or operation")
        yield found[0].strip()
        position = found.end()


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._position = 0

    def peek(self) -> str | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def sum(self, depth: int) -> Node:
        node = self._product(depth)
        while (sign := self.peek()) in ("+", "-"):
            self._position += 1
            node = Operation("+" if sign == "+" else "-", node, self._product(depth))
        return node

    def _product(self, depth: int) -> Node:
        node = self._term(depth)
        while (sign := self.peek()) in ("*", "/"):
            self._position += 1
            node = Operation("*" if sign == "*" else "/", node, self._term(depth))
        return node

    def _term(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise FormulaError("too deep")
        token = self.peek()
        self._position += 1
        if token is None:
            raise FormulaError("ends too early")
        if token == "-":
            return Negation(self._term(depth + 1))
        if token == "(":
            node = self.sum(depth + 1)
            if self.peek() != ")":
                raise FormulaError("unbalanced brackets")
            self._position += 1
            return node
        if token[0].isdigit():
            if len(token) > _MOST_DIGITS:
                raise FormulaError("a number too long")
            return Constant(Decimal(token.replace(",", "")))
        if ":" in token:
            tag, _, period = token.partition("@")
            prefix, _, name = tag.partition(":")
            return Operand(f"{prefix.lower()}:{name}", period)
        raise FormulaError("an operation without a term")
