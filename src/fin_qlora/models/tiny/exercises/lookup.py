"""Exercises about finding and naming something in a text."""

from __future__ import annotations

import random
import re

from ..corpus import Corpus
from ..market import headline
from ..naming import mention
from .form import Exercise, any_text, listed, sentence_of_a_filing

_MONTHS = (
    "January February March April May June July August September October November December".split()
)


def who(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask for the firm of an invented headline."""
    made = headline(rng)
    while made.company not in made.text:
        made = headline(rng)
    return Exercise(
        "who",
        rng.choice(["Which firm is it about?", "Copy the firm's name."]),
        made.text,
        made.company,
    )


def month(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask for the month that a sentence of a filing names."""
    for _ in range(40):
        text = sentence_of_a_filing(rng, corpus)
        found = {month for month in _MONTHS if month in text}
        if len(found) == 1:
            return Exercise(
                "month", rng.choice(["Which month is named?", "Find the month."]), text, found.pop()
            )
    return None


def ticker(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask for the ticker that a tweet names."""
    for _ in range(40):
        text = rng.choice(corpus.tweets)
        found = re.findall(r"\$[A-Z]{2,5}\b", text)
        if len(set(found)) == 1:
            return Exercise(
                "ticker", rng.choice(["Which ticker is named?", "Copy the ticker."]), text, found[0]
            )
    return None


def contains(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask whether a text has a number, a link and the like."""
    text = any_text(rng, corpus)
    rule, test = rng.choice(
        [
            ("Is there a number?", r"\d"),
            ("Is it a question?", r"\?"),
            ("Is money named?", r"[$€£]\d"),
            ("Is there a link?", r"https?:"),
            ("Is a percentage given?", r"\d%| percent"),
        ]
    )
    return Exercise(
        "contains",
        rule,
        text,
        "yes" if re.search(test, re.sub(r"https?:\S+", "https:", text)) else "no",
    )


def marked(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask for the neighbour of a marked word."""
    words = re.sub(r"https?:\S+", "", any_text(rng, corpus)).split()
    if len(words) < 6:
        return None
    at = rng.randrange(1, len(words) - 1)
    side = rng.random() < 0.5
    asked = (
        "Which word comes right after the marked word?"
        if side
        else "Which word comes right before the marked word?"
    )
    return Exercise(
        "marked",
        asked,
        f"{' '.join(words)}\nMarked: {words[at]}",
        words[at + 1] if side else words[at - 1],
    )


def name(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask whether an invented name tells who, which firm or where."""
    made = mention(rng)
    if rng.random() < 0.6:
        words = {"human": "who", "firm": "which", "spot": "where"}
        asked = rng.choice(["Does the name tell who, which or where?", "Who, which or where?"])
        if rng.random() < 0.5:
            asked += f" Options: {listed(rng, list(words.values()))}"
        answer = words[made.kind]
    else:
        kind, asked = rng.choice(
            [
                ("human", "Could the name have parents?"),
                ("firm", "Could the name issue shares?"),
                ("spot", "Is the name on a map?"),
            ]
        )
        answer = "yes" if made.kind == kind else "no"
    return Exercise("name", asked, f"{made.text}\nName: {made.name}", answer)


def word_before_name(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask for the word beside an invented name."""
    made = mention(rng)
    before, after = made.text.split(made.name, 1)
    side = rng.random() < 0.5
    words = (after if side else before).split()
    if not words:
        return None
    asked = f"Which word comes right {'after' if side else 'before'} the name?"
    return Exercise("beside", asked, f"{made.text}\nName: {made.name}", words[0 if side else -1])
