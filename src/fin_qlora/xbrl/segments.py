"""Which facts stand beside the one that is asked about: hard negatives first, then neighbours."""

from __future__ import annotations

import random
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import TypeVar

from .facts import Context, Period
from .index import FilingIndex
from .layout import Layout, fact_cost
from .reconcile import Known
from .settings import BuildSettings

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
T = TypeVar("T")
#: After so many facts that do not fit any more a segment is taken for full.
_MISFITS = 20
#: Facts that are weighed on either side of a target, so that no filing takes forever.
_NEAREST = 500


def choose(
    index: FilingIndex,
    targets: Sequence[Known],
    settings: BuildSettings,
    *,
    layout: Layout,
    every_target: bool = False,
) -> list[Known]:
    """Return the facts of a segment, the targets first, within the limits of the settings.

    Args:
        targets: the facts that the answer needs.
        every_target: give each target a negative of its own (formulas), not one group for the one.
    """
    if settings.mode == "compat":
        return _one_context(index, targets, settings, layout)
    most = settings.facts
    room = _Room(settings, layout, targets)
    for target in targets:
        negatives = _same_concept(index, target)
        share = 1 if every_target else most // 4
        taken = room.add(negatives, share)
        if every_target and not taken:
            room.add(_siblings(index, target), 1)
    for target in targets:
        room.add(_siblings(index, target), max(1, most // 2 // len(targets)))
    room.add(_neighbours(index, targets[0]), most)
    return room.chosen


def arrange(chosen: Iterable[Known], settings: BuildSettings, source: random.Random) -> list[Known]:
    """Return the facts of a segment in the order in which they are written."""
    ordered = sorted(chosen, key=lambda one: one.fact.order)
    if settings.shuffle:
        source.shuffle(ordered)
    return ordered


class _Room:
    """Takes facts until a segment is full."""

    def __init__(self, settings: BuildSettings, layout: Layout, targets: Sequence[Known]) -> None:
        self.chosen: list[Known] = []
        self._settings = settings
        self._layout = layout
        self._characters = layout.overhead
        self._keys: set[object] = set()
        self._contexts: set[Context] = set()
        for target in targets:
            self._take(target)

    def add(self, candidates: Iterable[Known], most: int) -> int:
        """Take up to ``most`` of the candidates, in their order; return how many."""
        taken = misfits = 0
        for one in candidates:
            full = len(self.chosen) >= self._settings.facts or misfits >= _MISFITS
            if taken >= most or full:
                break
            if one.key in self._keys:
                continue
            cost = fact_cost(one, self._layout, new_context=one.key.context not in self._contexts)
            if self._layout.tokens(self._characters + cost) > self._settings.budget:
                misfits += 1
                continue
            self._take(one)
            taken += 1
        return taken

    def _take(self, one: Known) -> None:
        new = one.key.context not in self._contexts
        self._characters += fact_cost(one, self._layout, new_context=new)
        self.chosen.append(one)
        self._keys.add(one.key)
        self._contexts.add(one.key.context)


def _one_context(
    index: FilingIndex, targets: Sequence[Known], settings: BuildSettings, layout: Layout
) -> list[Known]:
    """Return the us-gaap facts of the one context, as the published benchmark shows them."""
    room = _Room(replace(settings, facts=len(index.known) + 1), layout, targets)
    own = index.by_context[targets[0].key.context]
    room.add((one for one in own if one.key.concept.prefix == "us-gaap"), len(own))
    return room.chosen


def _same_concept(index: FilingIndex, target: Known) -> list[Known]:
    """Return facts of the same concept: other periods first, then other members, nearest first."""
    own = target.key.context

    def distance(other: Known) -> tuple[bool, int, int]:
        context = other.key.context
        return (
            context.dimensions != own.dimensions,
            days_between(context.period, own.period),
            abs(other.fact.order - target.fact.order),
        )

    return sorted(_around(index.by_concept[target.key.concept], target), key=distance)


def _siblings(index: FilingIndex, target: Known) -> list[Known]:
    """Return facts of the same context: look-alike names first, then the nearest."""
    words = _WORD.findall(target.key.concept.name)

    def distance(other: Known) -> tuple[int, int]:
        common = _common_start(words, _WORD.findall(other.key.concept.name))
        return -min(common, 3), abs(other.fact.order - target.fact.order)

    return sorted(_around(index.by_context[target.key.context], target), key=distance)


def _around(ordered: Sequence[Known], target: Known) -> list[Known]:
    """Return the facts of a list in document order that stand nearest to the target, without it."""
    middle = bisect_left(ordered, target.fact.order, key=lambda one: one.fact.order)
    nearest = ordered[max(0, middle - _NEAREST) : middle + _NEAREST + 1]
    return [one for one in nearest if one.key != target.key]


def _neighbours(index: FilingIndex, target: Known) -> Iterable[Known]:
    """Yield the facts around the target in document order, the nearest first."""
    middle = index.position.get(target.key, 0)
    for step in range(1, len(index.known)):
        for position in (middle - step, middle + step):
            if 0 <= position < len(index.known):
                yield index.known[position]


def days_between(one: Period, other: Period) -> int:
    """Return how far two periods lie apart: the days between their ends and between their starts.

    A period of the other kind is farther away than any of the same.
    """
    kinds = 0 if (one.start is None) == (other.start is None) else 100_000
    return kinds + _days(one.end, other.end) + _days(one.start, other.start)


def _days(one: date | None, other: date | None) -> int:
    return abs((one - other).days) if one and other else 0


def _common_start(one: Sequence[T], other: Sequence[T]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
