"""One value for one fact: duplicates of different accuracy are reconciled or left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from .facts import EXACT, Decimals, Fact, Key
from .numbers import ARITHMETIC


@dataclass(frozen=True, kw_only=True)
class Known:
    """A numeric fact with its one value.

    Args:
        fact: the most accurate of its elements, the first of them in document order.
        others: the values of less accurate elements that agree with it, without repeats.
        elements: every element that reports it, in document order.
        visible: at least one of them stands where readers see it.
    """

    fact: Fact
    value: Decimal
    others: tuple[Decimal, ...]
    elements: tuple[Fact, ...]
    visible: bool

    @property
    def key(self) -> Key:
        """Return what the fact is about."""
        return self.fact.key


def reconcile(facts: Iterable[Fact]) -> tuple[list[Known], Counter[str]]:
    """Return the numeric facts, in order of their first element, and why others were left out.

    Of several elements for one fact the most accurate gives the value; the others must hold that
    value within their own accuracy, or the fact is left out as inconsistent.
    """
    groups: dict[Key, list[Fact]] = {}
    left_out: Counter[str] = Counter()
    for fact in facts:
        if fact.value is None:
            if fact.numeric:
                left_out["nil"] += 1
            continue
        groups.setdefault(fact.key, []).append(fact)
    known = []
    for elements in groups.values():
        one = _one(elements)
        if one is None:
            left_out["inconsistent duplicates"] += 1
        else:
            known.append(one)
    return known, left_out


def _one(elements: list[Fact]) -> Known | None:
    best = max(elements, key=lambda fact: (_accuracy(fact.decimals), -fact.order))
    value = best.value
    assert value is not None
    others: list[Decimal] = []
    for fact in elements:
        if fact.value is None or fact.value == value:
            continue
        if _accuracy(fact.decimals) >= _accuracy(best.decimals):
            return None
        if not _holds(fact.value, fact.decimals, value):
            return None
        if fact.value not in others:
            others.append(fact.value)
    return Known(
        fact=best,
        value=value,
        others=tuple(others),
        elements=tuple(elements),
        visible=not all(fact.hidden for fact in elements),
    )


def _accuracy(decimals: Decimals) -> float:
    if decimals is None:
        return float("-inf")
    return float("inf") if decimals == EXACT else decimals


def _holds(value: Decimal, decimals: Decimals, exact: Decimal) -> bool:
    """Say whether ``exact`` lies within half a unit of the last stated decimal of ``value``."""
    if decimals is None or decimals == EXACT:
        return False
    half = Decimal(5).scaleb(-decimals - 1, ARITHMETIC)
    return abs(ARITHMETIC.subtract(value, exact)) <= half
