"""Rows that a model continues together: what each pass reads, and which rows have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .cache import stay
from .padding import left_padded


class Writing:
    """Prompts of one batch and what is written after them; it knows no model and no cache.

    Attributes:
        ids, positions: (rows, width), what the next pass reads.
        allowed: (rows, width, seen), true where it may read what is before it.
        answers: what is written after each prompt so far.
        ended: whether no row goes on.
    """

    def __init__(
        self, prompts: Sequence[list[int]], *, begun: int, stops: Sequence[int], room: int
    ) -> None:
        """Lay out the first pass.

        Args:
            begun: tokens that all prompts begin with and that are not in them.
            stops: tokens that end an answer.
            room: most tokens of an answer.
        """
        self.ids, real = left_padded(prompts)
        rows, width = self.ids.shape
        self.positions = begun + (real.long().cumsum(-1) - 1).clamp(min=0)
        self._seen = torch.cat([torch.ones(rows, begun, dtype=torch.bool), real], dim=1)
        before = torch.ones(width, begun + width, dtype=torch.bool).tril(begun)
        itself = torch.zeros_like(before)
        itself[:, begun:] = torch.eye(width, dtype=torch.bool)  # padding reads something
        self.allowed = (before & self._seen[:, None]) | itself
        self.answers: list[list[int]] = [[] for _ in prompts]
        self.ended = False
        self._rows = list(range(rows))
        self._stops = stops
        self._room = room
        self._steps = 0

    def take(self, tokens: Sequence[int], *, caches: Any = ()) -> None:
        """Note the next token of each row that is still answered, and lay out the next pass.

        Args:
            tokens: in the order of the rows of the last pass.
            caches: the layers of a ``writing_cache``; rows that have ended leave them.
        """
        for row, token in zip(self._rows, tokens, strict=True):
            self.answers[row].append(token)
        self._steps += 1
        going = [place for place, token in enumerate(tokens) if token not in self._stops]
        if not going or self._steps == self._room:
            self.ended = True
            return
        positions = self.positions[:, -1:] + 1
        seen = torch.cat([self._seen, torch.ones(len(self._seen), 1, dtype=torch.bool)], dim=1)
        if len(going) < len(self._rows):
            order, holes, movers = stay(going, "cpu")
            for layer in caches:
                layer.leave(len(order), holes=holes, movers=movers)
            positions, seen = positions[order], seen[order]
            self._rows = [self._rows[place] for place in order]
            tokens = [tokens[place] for place in order]
        self.ids, self.positions = torch.tensor(tokens)[:, None], positions
        self._seen, self.allowed = seen, seen[:, None]
