"""Keys and values of what was read before: of the common beginning once, of each row its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

#: Keys and values of one layer, each (1, key heads, tokens, width).
Remembered = tuple[torch.Tensor, torch.Tensor]


class _Layer(CacheLayerMixin):
    """What transformers asks of a layer's cache, beside ``update``."""

    seen = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.is_initialized = True

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.seen + query_length, 0

    def get_seq_length(self) -> int:
        return self.seen

    def get_max_length(self) -> int:
        return -1


class ReadingLayer(_Layer):
    """Takes the beginning, which is read in one pass, and keeps it."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> Remembered:
        """Take what is read."""
        self.keys, self.values = key_states, value_states
        self.seen = key_states.shape[-2]
        return key_states, value_states


class PassingLayer(_Layer):
    """Puts the beginning before the rows of one pass, and keeps nothing of them."""

    def __init__(self, before: Remembered) -> None:
        super().__init__()
        self._before = before
        self.seen = before[0].shape[-2]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> Remembered:
        """Return what is read, behind the beginning."""
        keys, values = (
            torch.cat([old.expand(len(new), -1, -1, -1), new], dim=-2)
            for old, new in zip(self._before, (key_states, value_states), strict=True)
        )
        return keys, values


class WritingLayer(_Layer):
    """Keeps what rows have read and written, in a room that is made once.

    Args:
        before: the beginning, or None.
        room: tokens that a row may have behind it.
    """

    def __init__(self, before: Remembered | None, *, room: int) -> None:
        super().__init__()
        self._before = before
        self._room = room
        self._states: list[torch.Tensor] = []
        self.seen = 0 if before is None else before[0].shape[-2]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> Remembered:
        """Take what is read or written, and return all there is."""
        new = (key_states, value_states)
        if not self._states:
            self._states = [self._made(states, which) for which, states in enumerate(new)]
        stop = self.seen + key_states.shape[-2]
        for room, states in zip(self._states, new, strict=True):
            room[:, :, self.seen : stop] = states
        self.seen = stop
        keys, values = (room[:, :, :stop] for room in self._states)
        return keys, values

    def _made(self, states: torch.Tensor, which: int) -> torch.Tensor:
        rows, heads, _, width = states.shape
        room = states.new_empty(rows, heads, self.seen + self._room, width)
        if self._before is not None:
            room[:, :, : self.seen] = self._before[which]
        return room

    def leave(self, rows: int, *, holes: torch.Tensor, movers: torch.Tensor) -> None:
        """Go on with the first ``rows`` rows, after those at ``movers`` have filled ``holes``."""
        for room in self._states:
            if len(holes):
                room[holes, :, : self.seen] = room[movers, :, : self.seen]
        self._states = [room[:rows] for room in self._states]


def reading_cache(layers: int) -> Cache:
    """Return an empty cache that takes a beginning."""
    return Cache(layers=[ReadingLayer() for _ in range(layers)])


def remembered(cache: Cache) -> list[Remembered]:
    """Return what a ``reading_cache`` has taken, layer by layer."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def passing_cache(before: Sequence[Remembered]) -> Cache:
    """Return a cache for one pass of rows behind a beginning; it serves any number of passes."""
    return Cache(layers=[PassingLayer(states) for states in before])


def writing_cache(before: Sequence[Remembered] | None, *, layers: int, room: int) -> Cache:
    """Return a cache for rows that are continued, behind a beginning where there is one."""
    return Cache(
        layers=[
            WritingLayer(None if before is None else before[number], room=room)
            for number in range(layers)
        ]
    )


def stay(
    going: Sequence[int], device: torch.device | str
) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """Return the new order of the rows that go on, and which rows move into which holes.

    Only rows at the end move, so that little is copied.
    """
    count = len(going)
    there = set(going)
    holes = [place for place in range(count) if place not in there]
    movers = [row for row in going if row >= count]
    order = list(range(count))
    for hole, mover in zip(holes, movers, strict=True):
        order[hole] = mover
    holes_at, movers_at = (
        torch.tensor(one, dtype=torch.long, device=device) for one in (holes, movers)
    )
    return order, holes_at, movers_at
