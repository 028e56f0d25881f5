"""What an exercise is, and what all of them are made with."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..corpus import Corpus


@dataclass(frozen=True)
class Exercise:
    """One question: instruction, input and the short answer."""

    name: str
    instruction: str
    input: str
    answer: str


Maker = Callable[[random.Random, Corpus], "Exercise | None"]


def listed(rng: random.Random, options: list[str]) -> str:
    """List the possible answers in random order and in one of several styles."""
    mixed = rng.sample(options, len(options))
    if rng.random() < 0.3:
        return "{" + "/".join(mixed) + "}"
    return rng.choice([", ", " / ", " or "]).join(mixed)


def sentence_of_a_filing(rng: random.Random, corpus: Corpus) -> str:
    """Draw a sentence of a filing, cut at 260 characters."""
    return rng.choice(rng.choice(corpus.paragraphs))[:260]


def any_text(rng: random.Random, corpus: Corpus) -> str:
    """Draw a tweet or, in one case of four, a sentence of a filing."""
    return rng.choice(corpus.tweets) if rng.random() < 0.75 else sentence_of_a_filing(rng, corpus)
