"""Exercises about rising and falling."""

# ruff: noqa: E501 - wordings are easier to read on one line
from __future__ import annotations

import random
import re

from ..corpus import Corpus
from ..market import FALLS, RISES, company, headline
from .form import Exercise, any_text, listed

_OPPOSITES = (
    "rise/fall rises/falls rose/fell rising/falling up/down higher/lower high/low gain/loss gains/losses "
    "beat/miss beats/misses raises/cuts raised/cut upgrade/downgrade upgraded/downgraded upgrades/downgrades "
    "jump/drop jumps/drops climb/slide climbs/slides surge/plunge surges/plunges strong/weak better/worse "
    "bullish/bearish profit/loss buy/sell increase/decrease increased/decreased increases/decreases above/below "
    "more/less optimism/fear hopes/fears win/lose wins/loses long/short favorable/unfavorable "
    "rally/selloff soars/tumbles advances/declines top/bottom boost/hit growth/decline first/last buying/selling "
    "recovery/recession adds/sheds"
)
_UP_WORDS = (
    r"ris(?:es|e|ing)|rose|gain(?:s|ed)?|jump(?:s|ed)?|climb(?:s|ed)?|surg(?:es|ed|e|ing)|soar(?:s|ed|ing)?|"
    r"rall(?:y|ies|ied)|advance[sd]?|higher|beats?|tops?|topped|upgrade[sd]?|raise[sd]?|lift(?:s|ed)?|boost(?:s|ed)?|"
    r"upbeat|strong(?:er)?|record high|bullish|wins?|won|outperform|rebound(?:s|ed)?|recover(?:s|ed|y)?|upside|"
    r"exceed(?:s|ed)|hike[sd]?|buy rating|overweight|pop(?:s|ped)|best|optimis(?:m|tic)|up \d"
)
_DOWN_WORDS = (
    r"fall(?:s|en|ing)?|fell|drop(?:s|ped)?|slid(?:es|e|ing)?|slump(?:s|ed)?|tumbl(?:es|ed|e|ing)|plung(?:es|ed|e|ing)|"
    r"s[ai]nks?|los(?:es|s|ses|t)|lower(?:s|ed)?|miss(?:es|ed)?|cuts?|downgrade[sd]?|declin(?:es|ed|e|ing)|weak(?:er|ness)?|"
    r"bearish|warn(?:s|ed|ing)?|slash(?:es|ed)?|lawsuit|fears?|crash(?:es|ed)?|selloff|sell-off|worst|underperform|"
    r"bankruptcy|layoffs|trim(?:s|med)?|halt(?:s|ed)?|plummet(?:s|ed)?|concerns?|worr(?:y|ies)|hits? low|down \d|probe|short seller"
)
_UP = re.compile(rf"\b(?:{_UP_WORDS})\b", re.I)
_DOWN = re.compile(rf"\b(?:{_DOWN_WORDS})\b", re.I)
_PAIRS = [(pair.split("/")[0], pair.split("/")[1]) for pair in _OPPOSITES.split()]
_OPPOSITE = dict(_PAIRS) | {b: a for a, b in _PAIRS}
_GAP = re.compile(
    r"(?<![\w'$#@-])(" + "|".join(sorted(_OPPOSITE, key=len, reverse=True)) + r")(?![\w'-])", re.I
)


def direction(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask which way an invented headline points, in one of several vocabularies."""
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
    elif made.kind in ("event", "report") and rng.random() < 0.5:
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
        asked += f" Options: {listed(rng, list(words.values()))}"
    return Exercise("direction", asked, made.text, words[made.direction])


def keyword_direction(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask whether the words of an unlabelled tweet tell of up, down or neither, by word lists."""
    for _ in range(20):
        text = rng.choice(corpus.tweets)
        up, down = _UP.findall(text), _DOWN.findall(text)
        if up and down:
            continue
        if (not up and not down) and rng.random() < 0.4:
            continue
        if (up or down) and rng.random() < 0.25:
            text = (_UP if up else _DOWN).sub("___", text)
        asked = rng.choice(
            [
                "Where do the words of the message point?",
                "Do its words tell of up, down or neither?",
            ]
        )
        if rng.random() < 0.4:
            asked += f" Options: {listed(rng, ['up', 'down', 'neither'])}"
        return Exercise("keywords", asked, text, "up" if up else "down" if down else "neither")
    return None


def pair(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask whether two invented headlines point the same way."""
    first, second = headline(rng), headline(rng)
    asked = rng.choice(["Do the two headlines point the same way?", "Same direction in A and B?"])
    return Exercise(
        "pair",
        asked,
        f"A: {first.text}\nB: {second.text}",
        "yes" if first.direction == second.direction else "no",
    )


def gap(rng: random.Random, corpus: Corpus) -> Exercise | None:
    """Ask which of two opposite words fills a gap in a real text."""
    for _ in range(30):
        text = any_text(rng, corpus)
        found = list(_GAP.finditer(text))
        if found:
            hit = rng.choice(found)
            word = hit.group(1).lower()
            asked = f"Which word fills the gap: {listed(rng, [word, _OPPOSITE[word]])}?"
            return Exercise("gap", asked, f"{text[: hit.start()]}___{text[hit.end() :]}", word)
    return None


def verb(rng: random.Random, corpus: Corpus) -> Exercise:
    """Ask which of two verbs means the same as a third."""
    side, other = (RISES, FALLS) if rng.random() < 0.5 else (FALLS, RISES)
    word, same = rng.sample(side, 2)
    return Exercise(
        "verb",
        "Which words mean much the same?",
        f"{company(rng)} {word}. Options: {listed(rng, [same, rng.choice(other)])}",
        same,
    )
