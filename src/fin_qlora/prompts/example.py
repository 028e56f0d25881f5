"""One training example as token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """One training example: ``labels`` is -100 on the prompt and the token id on the answer."""

    input_ids: list[int]
    labels: list[int]

    @classmethod
    def of(cls, prompt: list[int], answer: list[int]) -> Self:
        """Join prompt ids and answer ids; only the answer is trained."""
        return cls(input_ids=[*prompt, *answer], labels=[*([IGNORED] * len(prompt)), *answer])

    @property
    def answer_tokens(self) -> int:
        """Return the number of trained tokens, the end token included."""
        return sum(label != IGNORED for label in self.labels)
