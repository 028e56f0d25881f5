"""Instruction rows of invented exercises: what teaches the tiny base to read an input and answer.

Each exercise is made by rule from the unlabelled corpus or from invented headlines. None asks for
sentiment or for the type of an entity, and none reads a label of a data set.
"""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from .corpus import Corpus
from .market import FALLS, RISES, company, headline

_MONTHS = (
    "January February March April May June July August September October November December".split()
)
_OPPOSITES = (
    "rise/fall rises/falls rose/fell rising/falling up/down higher/lower high/low gain/loss gains/losses "
    "beat/miss beats/misses raises/cuts raised/cut upgrade/downgrade upgraded/downgraded upgrades/downgrades "
    "jump/drop jumps/drops climb/slide climbs/slides surge/plunge surges/plunges strong/weak better/worse "
    "bullish/bearish profit/loss buy/sell increase/decrease increased/decreased increases/decreases above/below "
    "more/less optimism/fear hopes/fears win/lose wins/loses long/short favorable/unfavorable "
    "rally/selloff soars/tumbles advances/declines top/bottom boost/hit growth/decline first/last buying/selling "
    "recovery/recession adds/sheds"
)
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


@dataclass(frozen=True)
class Exercise:
    """One question: instruction, input and the short answer."""

    name: str
    instruction: str
    input: str
    answer: str


Maker = Callable[[random.Random, Corpus], "Exercise | None"]


def _shuffled(rng: random.Random, options: list[str]) -> list[str]:
    return rng.sample(options, len(options))


def _options(rng: random.Random, options: list[str]) -> str:
    return rng.choice([", ", " / ", " or "]).join(_shuffled(rng, options))


def _sentence(rng: random.Random, corpus: Corpus) -> str:
    return rng.choice(rng.choice(corpus.paragraphs))[:260]


def _text(rng: random.Random, corpus: Corpus) -> str:
    return rng.choice(corpus.tweets) if rng.random() < 0.75 else _sentence(rng, corpus)


def _direction(rng: random.Random, corpus: Corpus) -> Exercise:
    made = headline(rng)
    if made.kind in ("rating", "target") and rng.random() < 0.5:
        words = {"up": "raised", "down": "cut", "flat": "kept"}
        asked = rng.choice(
            [
                "What did the bank do with its view?",
                "Was the view raised, cut or kept?",
                "How did the analyst act?",
            ]
        )
    elif made.kind == "result" and rng.random() < 0.5:
        words = {"up": "better", "down": "worse", "flat": "same"}
        asked = rng.choice(
            [
                "How are the figures against what was expected?",
                "Better, worse or same?",
                "Compare the result with hopes.",
            ]
        )
    elif made.kind == "event" and rng.random() < 0.5:
        words = {"up": "glad", "down": "sad", "flat": "calm"}
        asked = rng.choice(
            ["How would an owner of the shares feel?", "Owner of the shares: glad, sad or calm?"]
        )
    else:
        words = {"up": "up", "down": "down", "flat": "flat"}
        asked = rng.choice(
            [
                "Does it point up, down or flat?",
                "Which way does it point?",
                "Did the price move up or down?",
                "Direction?",
            ]
        )
    if rng.random() < 0.4:
        asked += f" Options: {_options(rng, list(words.values()))}"
    return Exercise("direction", asked, made.text, words[made.direction])


def _pair(rng: random.Random, corpus: Corpus) -> Exercise:
    first, second = headline(rng), headline(rng)
    asked = rng.choice(["Do the two headlines point the same way?", "Same direction in A and B?"])
    return Exercise(
        "pair",
        asked,
        f"A: {first.text}\nB: {second.text}",
        "yes" if first.direction == second.direction else "no",
    )


def _who(rng: random.Random, corpus: Corpus) -> Exercise:
    made = headline(rng)
    while made.company not in made.text:
        made = headline(rng)
    return Exercise(
        "who",
        rng.choice(["Which firm is it about?", "Copy the firm's name."]),
        made.text,
        made.company,
    )


_PAIRS = [(pair.split("/")[0], pair.split("/")[1]) for pair in _OPPOSITES.split()]
_OPPOSITE = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_GAP = re.compile(
    r"(?<![\w'$#@-])(" + "|".join(sorted(_OPPOSITE, key=len, reverse=True)) + r")(?![\w'-])", re.I
)


def _gap(rng: random.Random, corpus: Corpus) -> Exercise | None:
    for _ in range(30):
        text = _text(rng, corpus)
        found = list(_GAP.finditer(text))
        if found:
            hit = rng.choice(found)
            word = hit.group(1).lower()
            asked = f"Which word fills the gap: {_options(rng, [word, _OPPOSITE[word]])}?"
            return Exercise("gap", asked, f"{text[: hit.start()]}___{text[hit.end() :]}", word)
    return None


def _topic(rng: random.Random, corpus: Corpus) -> Exercise | None:
    for _ in range(30):
        text = _text(rng, corpus)
        hits = [name for name, pattern in _TOPICS.items() if re.search(rf"\b(?:{pattern})", text)]
        if len(hits) == 1:
            if rng.random() < 0.6:
                text = re.sub(rf"\b(?:{_TOPICS[hits[0]]})", "___", text)
            asked = rng.choice(["What is the topic?", "Name the topic of the text.", "Topic?"])
            if rng.random() < 0.5:
                others = rng.sample([name for name in _TOPICS if name != hits[0]], 3)
                asked += f" Options: {_options(rng, [hits[0], *others])}"
            return Exercise("topic", asked, text, hits[0])
    return None


def _month(rng: random.Random, corpus: Corpus) -> Exercise | None:
    for _ in range(40):
        text = _sentence(rng, corpus)
        found = {month for month in _MONTHS if month in text}
        if len(found) == 1:
            return Exercise(
                "month", rng.choice(["Which month is named?", "Find the month."]), text, found.pop()
            )
    return None


def _ticker(rng: random.Random, corpus: Corpus) -> Exercise | None:
    for _ in range(40):
        text = rng.choice(corpus.tweets)
        found = re.findall(r"\$[A-Z]{2,5}\b", text)
        if len(set(found)) == 1:
            return Exercise(
                "ticker", rng.choice(["Which ticker is named?", "Copy the ticker."]), text, found[0]
            )
    return None


def _order(rng: random.Random, corpus: Corpus) -> Exercise | None:
    paragraph = rng.choice(corpus.paragraphs)
    if len(paragraph) < 2:
        return None
    at = rng.randrange(len(paragraph) - 1)
    follows = rng.random() < 0.5
    second = paragraph[at + 1] if follows else _sentence(rng, corpus)
    return Exercise(
        "order",
        rng.choice(["Does B follow A in one text?", "Do A and B belong together?"]),
        f"A: {paragraph[at][:200]}\nB: {second[:200]}",
        "yes" if follows else "no",
    )


def _halves(rng: random.Random, corpus: Corpus) -> Exercise:
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


def _term_kind(rng: random.Random, corpus: Corpus) -> Exercise | None:
    for _ in range(20):
        made = rng.choice(corpus.definitions)
        hits = [
            kind for kind, pattern in _TERM_KINDS.items() if re.search(pattern, made.term, re.I)
        ]
        if len(hits) == 1:
            return Exercise(
                "term kind",
                f"What does the definition describe? Options: {_options(rng, list(_TERM_KINDS))}",
                made.text[:260],
                hits[0],
            )
    return None


def _term(rng: random.Random, corpus: Corpus) -> Exercise:
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


def _contains(rng: random.Random, corpus: Corpus) -> Exercise:
    text = _text(rng, corpus)
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


def _verb(rng: random.Random, corpus: Corpus) -> Exercise:
    side, other = (RISES, FALLS) if rng.random() < 0.5 else (FALLS, RISES)
    word, same = rng.sample(side, 2)
    return Exercise(
        "verb",
        "Which words mean much the same?",
        f"{company(rng)} {word}. Options: {_options(rng, [same, rng.choice(other)])}",
        same,
    )


def _marked(rng: random.Random, corpus: Corpus) -> Exercise | None:
    words = re.sub(r"https?:\S+", "", _text(rng, corpus)).split()
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


MAKERS: tuple[tuple[Maker, int], ...] = (
    (_direction, 30),
    (_gap, 16),
    (_topic, 12),
    (_pair, 5),
    (_who, 4),
    (_month, 2),
    (_ticker, 2),
    (_order, 5),
    (_halves, 4),
    (_term_kind, 6),
    (_term, 4),
    (_contains, 5),
    (_verb, 2),
    (_marked, 3),
)


def exercise(rng: random.Random, corpus: Corpus) -> Exercise:
    """Make one exercise of a random kind."""
    makers, weights = [maker for maker, _ in MAKERS], [weight for _, weight in MAKERS]
    while True:
        made = rng.choices(makers, weights)[0](rng, corpus)
        if made is not None:
            return made
