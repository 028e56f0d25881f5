"""Exercises about what a text is about and what belongs together."""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

import random
import re

from ..corpus import Corpus
from .form import Exercise, any_text, listed, sentence_of_a_filing

_TOPICS = {
    "earnings": r"earnings|EPS|revenue|results|profit|quarter|Q[1-4]\b|guidance",
    "analysts": r"upgraded?s?|downgraded?s?|price target|PT\b|analysts?|rating|Outperform|Neutral|Buy\b",
    "economy": r"Fed\b|economy|economic|inflation|unemployment|GDP|recession|jobs|rates?\b|central bank",
    "trade": r"tariffs?|trade (?:deal|war|talks)|China|exports?|imports?",
    "energy": r"oil\b|crude|gas\b|energy|barrels?|OPEC|shale",
    "health": r"virus|coronavirus|drug|vaccine|FDA|pharma\w*|health|trial|outbreak",
    "deals": r"merger|acquir\w+|acquisition|takeover|buyout|deal\b|stake|offer\b|bid\b|IPO",
    "dividend": r"dividends?|buyback|repurchase|payout|yield",
    "people": r"CEO|CFO|board|appoint\w*|director|chairman|resigns?|names",
    "law": r"lawsuit|court|probe|investigat\w+|fined?\b|settle\w*|judge|SEC\b",
    "tax": r"income tax\w*|deferred tax\w*|tax\b",
    "lease": r"leases?\b|lessee|rent\w*",
    "debt": r"notes?\b|debt|borrow\w*|credit facilit\w+|loans?",
    "pay": r"stock options?|awards?|compensation|RSUs?|vest\w*",
    "pensions": r"pensions?|retirement|benefit plans?|plan assets",
}
_TERM_KINDS = {
    "asset": r"\bassets?\b|receivable|inventor|goodwill",
    "liability": r"liabilit|payable|\bdebt\b|borrowing",
    "expense": r"expense|\bcosts?\b|depreciation|amortization",
    "income": r"income|revenue|gains?\b|earnings",
    "share": r"\bshares?\b|stock|equity",
    "ratio": r"percent|\brate\b|ratio",
    "time": r"\bterm\b|period|year|maturit",
}


def topic(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask for the topic of a real text, set by its keywords, which may be hidden."""
    for _ in range(30):
        text = any_text(rng, corpus)
        hits = [name for name, pattern in _TOPICS.items() if re.search(rf"\b(?:{pattern})", text)]
        if len(hits) == 1:
            if rng.random() < 0.6:
                text = re.sub(rf"\b(?:{_TOPICS[hits[0]]})", "___", text)
            asked = rng.choice(["What is the topic?", "Name the topic of the text.", "Topic?"])
            if rng.random() < 0.5:
                others = rng.sample([name for name in _TOPICS if name != hits[0]], 3)
                asked += f" Options: {listed(rng, [hits[0], *others])}"
            return Exercise("topic", asked, text, hits[0])
    return None


def order(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask whether one sentence of a filing follows another."""
    paragraph = rng.choice(corpus.paragraphs)
    if len(paragraph) < 2:
        return None
    at = rng.randrange(len(paragraph) - 1)
    follows = rng.random() < 0.5
    second = paragraph[at + 1] if follows else sentence_of_a_filing(rng, corpus)
    return Exercise(
        "order",
        rng.choice(["Does B follow A in one text?", "Do A and B belong together?"]),
        f"A: {paragraph[at][:200]}\nB: {second[:200]}",
        "yes" if follows else "no",
    )


def halves(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask whether two halves of a tweet belong together."""
    words, other = rng.choice(corpus.tweets).split(), rng.choice(corpus.tweets).split()
    fits = rng.random() < 0.5
    tail = words[len(words) // 2 :] if fits else other[len(other) // 2 :]
    text = f"{' '.join(words[: len(words) // 2])} | {' '.join(tail)}"
    return Exercise(
        "halves",
        rng.choice(["Do both halves fit?", "Is it one message?"]),
        text,
        "yes" if fits else "no",
    )


def term_kind(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask what kind of item an XBRL definition describes, set by words of its term."""
    for _ in range(20):
        made = rng.choice(corpus.definitions)
        hits = [
            kind for kind, pattern in _TERM_KINDS.items() if re.search(pattern, made.term, re.I)
        ]
        if len(hits) == 1:
            return Exercise(
                "term kind",
                f"What does the definition describe? Options: {listed(rng, list(_TERM_KINDS))}",
                made.text[:260],
                hits[0],
            )
    return None


def term(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask whether an XBRL definition explains a term."""
    right, wrong = rng.sample(corpus.definitions, 2)
    if rng.random() < 0.5:
        return Exercise(
            "term",
            "Does the definition explain the term?",
            f"{right.text[:200]}\nTerm: {right.term}",
            "yes",
        )
    return Exercise(
        "term",
        "Does the definition explain the term?",
        f"{right.text[:200]}\nTerm: {wrong.term}",
        "no",
    )
