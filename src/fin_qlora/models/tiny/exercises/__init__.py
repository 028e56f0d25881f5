"""Instruction rows of invented exercises: what teaches the tiny base to read an input and answer.

Each exercise is made by rule from the unlabelled corpus or from invented sentences. None asks for
sentiment or for the type of an entity, and none reads a label of a data set.
"""

from __future__ import annotations

import random

from ..corpus import Corpus
from . import direction, lookup, subject
from .form import Exercise, Maker

__all__ = ["MAKERS", "Exercise", "exercise"]

MAKERS: tuple[tuple[Maker, int], ...] = (
    (direction.direction, 30),
    (direction.keyword_direction, 12),
    (direction.gap, 16),
    (subject.topic, 10),
    (direction.pair, 5),
    (lookup.who, 4),
    (lookup.month, 2),
    (lookup.ticker, 2),
    (subject.order, 5),
    (subject.halves, 4),
    (subject.term_kind, 6),
    (subject.term, 4),
    (lookup.contains, 5),
    (direction.verb, 2),
    (lookup.marked, 4),
    (lookup.name, 12),
    (lookup.word_before_name, 5),
)


def exercise(rng: random.Random, corpus: Corpus) -> Exercise:
    """Make one exercise of a random kind."""
    makers, weights = [maker for maker, _ in MAKERS], [weight for _, weight in MAKERS]
    while True:
        made = rng.choices(makers, weights)[0](rng, corpus)
        if made is not None:
            return made
