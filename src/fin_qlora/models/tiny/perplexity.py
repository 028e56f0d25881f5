"""Perplexity on unseen text, beside what counting single tokens and pairs would reach."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .rows import RowMaker, TokenRow

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LONGEST = 256
_DISCOUNT = 0.75


@dataclass(frozen=True)
class Perplexity:
    """Perplexity per token of three models on the same tokens."""

    texts: int
    tokens: int
    model: float
    unigram: float
    bigram: float

    def to_dict(self) -> dict[str, float]:
        """Return rounded plain values."""
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "model": round(self.model, 2),
            "unigram": round(self.unigram, 2),
            "bigram": round(self.bigram, 2),
        }


class Counts:
    """Unigram and bigram counts of the training text, the bigram with absolute discounting."""

    def __init__(self, rows: Sequence[TokenRow], vocabulary: int) -> None:
        self._vocabulary = vocabulary
        self._single = Counter(token for row in rows for token in row.ids)
        self._pairs = Counter(
            pair for row in rows for pair in zip(row.ids, row.ids[1:], strict=False)
        )
        self._total = sum(self._single.values())
        self._before: Counter[int] = Counter()
        self._followers: Counter[int] = Counter()
        for (first, _), count in self._pairs.items():
            self._before[first] += count
            self._followers[first] += 1

    def unigram(self, token: int) -> float:
        """Return the add-one probability of a token."""
        return (self._single[token] + 1) / (self._total + self._vocabulary)

    def bigram(self, first: int, second: int) -> float:
        """Return the probability of a token after another one."""
        seen = self._before[first]
        if not seen:
            return self.unigram(second)
        kept = max(self._pairs[first, second] - _DISCOUNT, 0.0) / seen
        return kept + _DISCOUNT * self._followers[first] / seen * self.unigram(second)


@torch.no_grad()
def measure(
    model: PreTrainedModel, maker: RowMaker, texts: Sequence[str], counts: Counts
) -> Perplexity:
    """Measure on `texts`, each cut at 256 tokens; codes of web addresses are not counted."""
    tokens = 0
    losses = [0.0, 0.0, 0.0]
    for text in texts:
        row = maker.text(text)
        ids, weights = row.ids[:LONGEST], row.weights[1:LONGEST]
        logits = model(torch.tensor([ids])).logits[0, :-1].float()
        own = functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none").tolist()
        for at, weight in enumerate(weights):
            if weight:
                tokens += 1
                losses[0] += own[at]
                losses[1] -= math.log(counts.unigram(ids[at + 1]))
                losses[2] -= math.log(counts.bigram(ids[at], ids[at + 1]))
    return Perplexity(len(texts), tokens, *(math.exp(loss / tokens) for loss in losses))
