"""What evaluating takes beside the training, on the same cards, by arithmetic alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..inference.generation import CACHE_BUDGET
from ..inference.scoring import MASK_BUDGET, TOKEN_BUDGET
from ..models.activations import reading_memory
from ..models.memory import cache_memory

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PretrainedConfig

    from ..models.base import Quantization


@dataclass(frozen=True, kw_only=True)
class EvaluationMemory:
    """The pass that takes the most, in bytes.

    Attributes:
        rows, length: rows of that pass, and their tokens.
        reading: its activations, and the mask that hides answers from one another.
        cache: keys and values of what is read and written; 0 where only labels are compared.
    """

    rows: int
    length: int
    reading: int
    cache: int

    @property
    def peak(self) -> int:
        """Bytes of all of it."""
        return self.reading + self.cache


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How the rows of all tasks are evaluated.

    Attributes:
        batch_size: rows in one pass at most.
        labels: the most labels of a task; 0 where no task has labels.
        room: the most tokens of a free answer; 0 where every answer is a label.
    """

    batch_size: int
    labels: int
    room: int

    def memory(
        self,
        config: PretrainedConfig,
        *,
        quantization: Quantization,
        adapter: PeftConfig,
        longest: int,
        eager: bool = False,
    ) -> EvaluationMemory:
        """Return what the largest pass takes, of rows as long as those that are trained.

        Labels are taken to have one token and an end, since no tokenizer is needed here.
        """

        def reading(rows: int, length: int, predictions: int) -> int:
            return reading_memory(
                config,
                quantization=quantization,
                adapter=adapter,
                rows=rows,
                length=length,
                predictions=predictions,
                eager=eager,
            )

        found = []
        if self.labels:
            rows, length = self._scored(longest)
            mask = 2 * rows * length**2
            taken = reading(rows, length, 1 + self.labels) + mask
            found.append(EvaluationMemory(rows=rows, length=length, reading=taken, cache=0))
        if self.room:
            rows, places = self._written(config, longest + self.room)
            taken = reading(rows, longest, 1)
            cache = cache_memory(config, rows=1, length=places)
            found.append(EvaluationMemory(rows=rows, length=longest, reading=taken, cache=cache))
        return max(found, key=lambda one: one.peak)

    def _scored(self, longest: int) -> tuple[int, int]:
        """Return the rows and their length of the pass with the most tokens."""
        # up to that length all rows go at once; above it the budgets let fewer of them
        whole = min(
            longest, math.isqrt(MASK_BUDGET // self.batch_size), TOKEN_BUDGET // self.batch_size
        )
        passes = [
            (max(min(self.batch_size, MASK_BUDGET // length**2, TOKEN_BUDGET // length), 1), length)
            for length in (max(whole, 1), longest)
        ]
        return max(passes, key=math.prod)

    def _written(self, config: PretrainedConfig, width: int) -> tuple[int, int]:
        """Return the rows, and the places in their caches together."""
        most = CACHE_BUDGET // cache_memory(config, rows=1, length=1)
        rows = max(min(self.batch_size, most // width), 1)
        return rows, max(min(self.batch_size * width, most), width)
