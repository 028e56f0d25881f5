"""Turns text and exercises into weighted token rows, and packs rows into training windows."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .corpus import Corpus
from .exercises import Exercise, exercise
from .market import headline

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PROMPT_WEIGHT = 0.15
ANSWER_WEIGHT = 3.0
CHAT_SHARE = 0.15
_WAITING_ROWS = 40
MIXTURE = {
    "exercises": 0.66,
    "tweets": 0.14,
    "filings": 0.08,
    "definitions": 0.06,
    "headlines": 0.04,
    "questions": 0.02,
}

# The code of a shortened web address is noise: it is read but never predicted.
_CODE = re.compile(r"https?://t\.co/(\w+)")


@dataclass(frozen=True)
class TokenRow:
    """Token ids and, for each, the weight of predicting it (0 for the first)."""

    ids: list[int]
    weights: list[float]


class RowMaker:
    """Draws rows from the mixture, for ever and in an order that the seed fixes."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, corpus: Corpus, seed: int) -> None:
        self._tokenizer = tokenizer.backend_tokenizer
        self._corpus = corpus
        self._random = random.Random(seed)
        special = tokenizer.convert_tokens_to_ids
        self._begin, self._end = special("<|begin_of_text|>"), special("<|end_of_text|>")
        self._turn_end = special("<|eot_id|>")
        self._header, self._header_end = (
            special("<|start_header_id|>"),
            special("<|end_header_id|>"),
        )

    def encoded(self, text: str, weight: float = 1.0) -> TokenRow:
        """Encode `text` without special tokens; web address codes weigh nothing."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        noise = [match.span(1) for match in _CODE.finditer(text)]
        weights = [
            0.0 if any(a < stop and b > start for start, stop in noise) else weight
            for a, b in encoding.offsets
        ]
        return TokenRow(encoding.ids, weights)

    def plain(self, made: Exercise) -> TokenRow:
        """Encode an exercise in the plain prompt form, ended by the end-of-text token."""
        prompt = self.encoded(
            f"Instruction: {made.instruction}\nInput: {made.input}\nAnswer:", PROMPT_WEIGHT
        )
        answer = [*self.encoded(f" {made.answer}").ids, self._end]
        return TokenRow(
            [self._begin, *prompt.ids, *answer],
            [0.0, *prompt.weights, *[ANSWER_WEIGHT] * len(answer)],
        )

    def chat(self, made: Exercise) -> TokenRow:
        """Encode an exercise as one user and one assistant turn of the chat template."""
        user = self.encoded(f"\n\n{made.instruction}\n\n{made.input}".rstrip(), PROMPT_WEIGHT)
        head = [self._begin, *self._role("user"), *user.ids, self._turn_end]
        lead = [*self._role("assistant"), *self.encoded("\n\n").ids]
        answer = [*self.encoded(made.answer).ids, self._turn_end]
        weights = [0.0] * (len(head) - len(user.ids) - 1) + user.weights + [PROMPT_WEIGHT]
        return TokenRow(
            [*head, *lead, *answer],
            [*weights, *[PROMPT_WEIGHT] * len(lead), *[ANSWER_WEIGHT] * len(answer)],
        )

    def _role(self, name: str) -> list[int]:
        return [self._header, *self.encoded(name).ids, self._header_end]

    def text(self, text: str) -> TokenRow:
        """Encode running text between the begin and end tokens."""
        row = self.encoded(text)
        return TokenRow([self._begin, *row.ids, self._end], [0.0, *row.weights, 1.0])

    def draw(self) -> TokenRow:
        """Draw one row of the mixture."""
        rng, corpus = self._random, self._corpus
        kind = rng.choices(list(MIXTURE), list(MIXTURE.values()))[0]
        if kind == "exercises":
            made = exercise(rng, corpus)
            return self.chat(made) if rng.random() < CHAT_SHARE else self.plain(made)
        if kind == "tweets":
            return self.text(rng.choice(corpus.tweets))
        if kind == "filings":
            paragraph = rng.choice(corpus.paragraphs)
            return self.text(" ".join(paragraph[rng.randrange(len(paragraph)) :]))
        if kind == "definitions":
            made_of = rng.choice(corpus.definitions)
            return self.text(f"{made_of.term}: {made_of.text}")
        if kind == "headlines":
            return self.text(headline(rng).text)
        return self.text(rng.choice(corpus.questions))

    def windows(self, length: int) -> Iterator[list[TokenRow]]:
        """Pack whole rows into windows of at most `length` tokens; longer rows are cut."""
        waiting: list[TokenRow] = []
        while True:
            while len(waiting) < _WAITING_ROWS:
                row = self.draw()
                waiting.append(TokenRow(row.ids[:length], row.weights[:length]))
            window, left, free = [], [], length
            for row in waiting:
                if len(row.ids) <= free:
                    window.append(row)
                    free -= len(row.ids)
                else:
                    left.append(row)
            waiting = left
            yield window
