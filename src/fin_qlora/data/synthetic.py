"""The demo's data: made-up news and made-up agreements, the same rows for the same seed.

All of it is synthetic. The test half uses sentence wordings and names (companies, persons,
places) that the train half never contains, so a good score is not remembered text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, Protocol

from ..errors import DataError, UsageError
from . import synthetic_wordings as words

Split = Literal["train", "test"]
Row = dict[str, str]

#: Share of each label; uneven, as real data is.
SENTIMENT_SHARES: Final = {"negative": 0.29, "neutral": 0.39, "positive": 0.32}
ENTITY_SHARES: Final = {"person": 0.32, "organization": 0.4, "location": 0.28}

_SLOT = re.compile(r"\{(\w+)\}")


class Generator(Protocol):
    """Makes `n` rows of a split; the same seed gives the same rows."""

    def __call__(self, split: Split, n: int, seed: int) -> list[Row]:
        """Return the rows."""
        ...


@dataclass(frozen=True)
class Pools:
    """What one split draws from: sentence wordings, name stems and first names."""

    wordings: frozenset[str]
    stems: tuple[str, ...]
    first_names: tuple[str, ...]


@cache
def pools(split: Split) -> Pools:
    """Return what a split draws from. Raises UsageError for a split that does not exist."""
    if split not in ("train", "test"):
        raise UsageError(f"The split '{split}' does not exist.", fix="Use 'train' or 'test'.")
    stems = [
        start + end
        for i, start in enumerate(words.STEM_STARTS)
        for j, end in enumerate(words.STEM_ENDS)
        if ((3 * i + j) % 5 == 0) == (split == "test")
    ]
    wordings = {*words.AGREEMENTS[split]}
    for of_label in words.SENTIMENT[split].values():
        wordings |= {*of_label}
    return Pools(frozenset(wordings), tuple(stems), words.FIRST_NAMES[split])


def assert_disjoint() -> None:
    """Raise DataError when the train and the test half share a wording or a part of a name."""
    train, test = pools("train"), pools("test")
    shared = (
        {_plain(w) for w in train.wordings} & {_plain(w) for w in test.wordings}
        | {*train.stems} & {*test.stems}
        | {*train.first_names} & {*test.first_names}
    )
    if shared:
        raise DataError(
            f"The synthetic train and test halves share {sorted(shared)}.",
            fix="Change synthetic_wordings.py so that each half has its own.",
        )


def sentiment_rows(split: Split, n: int, seed: int) -> list[Row]:
    """Return `n` made-up company news, each with `text` and `label`.

    The label follows from the wording: whether what went up or down is good for the company.
    """
    rng, pool = _random("sentiment", split, seed), pools(split)
    rows = []
    for label in _labels(SENTIMENT_SHARES, n, rng):
        wording = rng.choice(words.SENTIMENT[split][label])
        text, _ = _filled(wording, pool, rng)
        rows.append({"text": text, "label": label})
    return rows


def ner_rows(split: Split, n: int, seed: int) -> list[Row]:
    """Return `n` sentences of made-up agreements: `text`, an `entity` in it, its type `label`."""
    rng, pool = _random("ner", split, seed), pools(split)
    rows = []
    for label in _labels(ENTITY_SHARES, n, rng):
        fitting = [w for w in words.AGREEMENTS[split] if f"{{{label}}}" in w]
        text, filled = _filled(rng.choice(fitting), pool, rng)
        named = [value for slot, value in filled.items() if slot.rstrip("2") == label]
        rows.append({"text": text, "entity": rng.choice(named), "label": label})
    return rows


#: name of a generator -> the generator; tasks name it as their source.
GENERATORS: Final[Mapping[str, Generator]] = {
    "sentiment": sentiment_rows,
    "ner": ner_rows,
}


def _random(kind: str, split: Split, seed: int) -> random.Random:
    return random.Random(f"{kind} {split} {seed}")


def _plain(wording: str) -> str:
    return " ".join(re.findall(r"\w+", _SLOT.sub(" ", wording).lower()))


def _labels(shares: Mapping[str, float], n: int, rng: random.Random) -> list[str]:
    labels = [label for label, share in shares.items() for _ in range(round(share * n))]
    labels += rng.choices(list(shares), k=max(0, n - len(labels)))
    rng.shuffle(labels)
    return labels[:n]


def _filled(wording: str, pool: Pools, rng: random.Random) -> tuple[str, dict[str, str]]:
    values: dict[str, str] = {}
    for slot in _SLOT.findall(wording):
        values[slot] = _value(slot.rstrip("2"), pool, rng)
        while list(values.values()).count(values[slot]) > 1:
            values[slot] = _value(slot.rstrip("2"), pool, rng)
    text = wording.format_map(values)
    text = text.replace("..", ".")  # a name such as "Orph Inc." may end a sentence
    return text[0].upper() + text[1:], values


def _value(slot: str, pool: Pools, rng: random.Random) -> str:
    match slot:
        case "company" | "organization":
            return _company(pool, rng)
        case "place" | "location":
            return _place(pool, rng)
        case "person":
            return _person(pool, rng)
        case "money":
            return _money(rng, 60, 900)
        case "lessmoney":
            return _money(rng, 2, 50)
        case "percent":
            return (
                f"{rng.uniform(1, 40):.1f}%"
                if rng.random() < 0.6
                else f"{rng.randint(2, 40)} percent"
            )
        case "day":
            return str(rng.randint(1, 28))
        case "year":
            return str(rng.randint(1996, 2029))
        case "count":
            return str(rng.randint(12, 4800))
        case _:
            return rng.choice(_CHOICES[slot])


_CHOICES: Final[Mapping[str, tuple[str, ...] | list[str]]] = {
    "gain": words.GAINS,
    "burden": words.BURDENS,
    "rose": words.ROSE,
    "fell": words.FELL,
    "beat": words.BEAT,
    "missed": words.MISSED,
    "product": words.PRODUCTS,
    "role": words.ROLES,
    "month": words.MONTHS,
    "quarter": words.QUARTERS,
}


def _company(pool: Pools, rng: random.Random) -> str:
    parts = [rng.choice(pool.stems)]
    if rng.random() < 0.6:
        parts.append(rng.choice(words.COMPANY_KINDS))
    if rng.random() < (0.5 if len(parts) > 1 else 0.7):
        parts.append(rng.choice(words.COMPANY_FORMS))
    return " ".join(parts)


def _place(pool: Pools, rng: random.Random) -> str:
    stem = rng.choice(pool.stems)
    return stem if rng.random() < 0.4 else rng.choice(words.PLACE_FORMS).format(stem)


def _person(pool: Pools, rng: random.Random) -> str:
    first, last = rng.choice(pool.first_names), rng.choice(pool.stems)
    return (
        f"{first} {last}"
        if rng.random() < 0.75
        else f"{first} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
    )


def _money(rng: random.Random, low: int, high: int) -> str:
    amount = f"{rng.uniform(low, high):.1f}" if rng.random() < 0.5 else str(rng.randint(low, high))
    return rng.choice(words.CURRENCIES).format(f"{amount} million")
