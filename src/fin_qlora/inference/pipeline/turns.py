"""Answers written by all stages at once: each is at another micro-batch, token by token.

PyTorch's GPipe schedule could carry the caches, but it empties the stages before it takes anything
new; in writing that would be after every token, since the next one needs the last. Here a
micro-batch, with a cache of its own on every stage, has its next turn as soon as its last token is
known, while the others are under way; and where one has ended, one of the next batch takes its
place. Tokens alone decide who ends, and every process gets them, so all take the same turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch

from ..reading.cache import writing_cache
from ..reading.faults import check_finite
from ..reading.writing import Writing
from .links import Links
from .micro_batches import cut_rows
from .stage import Stage

#: Stands for the token of a row whose logits were no numbers.
_NO_TOKEN = -1


@torch.no_grad()
def written_in_turns(
    stage: Stage,
    links: Links,
    batches: Iterable[Sequence[list[int]]],
    *,
    before: Any,
    stops: Sequence[int],
    room: int,
    micro_batches: int,
) -> Iterator[list[list[int]]]:
    """Yield, for each batch of prompts, the ids that follow each prompt, at most ``room``.

    Args:
        before: keys and values of what all prompts begin with, or None.
        micro_batches: how many a batch is cut into, and how many are under way.
    """
    coming = iter(batches)
    unfinished: deque[list[_MicroBatch]] = deque()
    waiting: deque[_MicroBatch] = deque()
    under_way: deque[_MicroBatch] = deque()
    while True:
        while len(under_way) < micro_batches:
            if not waiting:
                if (prompts := next(coming, None)) is None:
                    break
                parts = cut_rows(len(prompts), micro_batches=micro_batches)
                fresh = [
                    _MicroBatch(prompts[part], before=before, stops=stops, room=room)
                    for part in parts
                ]
                unfinished.append(fresh)
                waiting.extend(fresh)
            under_way.append(waiting.popleft())
            under_way[-1].read(stage, links)
        if not under_way:
            return
        one = under_way.popleft()
        one.take()
        if not one.writing.ended:
            one.read(stage, links)
            under_way.append(one)
        while unfinished and all(part.writing.ended for part in unfinished[0]):
            yield [answer for part in unfinished.popleft() for answer in part.writing.answers]


class _MicroBatch:
    """Rows that are continued together, and what this stage remembers of them."""

    def __init__(
        self, prompts: Sequence[list[int]], *, before: Any, stops: Sequence[int], room: int
    ) -> None:
        begun = 0 if before is None else before[0][0].shape[-2]
        self.writing = Writing(prompts, begun=begun, stops=stops, room=room)
        self._before = before
        self._room = self.writing.ids.shape[1] + room
        self._cache: Any = None
        self._tokens: Callable[[], torch.Tensor] | None = None

    def read(self, stage: Stage, links: Links) -> None:
        """Run what comes next through this stage, and pass it on."""
        if self._cache is None:
            stage.check_window(self.writing.allowed.shape[-1] + self._room)
            self._cache = writing_cache(self._before, layers=stage.layers, room=self._room)
        rows, width = self.writing.ids.shape
        before = links.receive(rows, width, stage.width, dtype=stage.dtype)
        tokens = None
        with stage.clock:
            states = stage.states(
                before,
                ids=self.writing.ids,
                positions=self.writing.positions,
                allowed=self.writing.allowed,
                cache=self._cache,
            )
            if links.is_last:
                best = stage.logits(states[:, -1]).max(-1)
                tokens = best.indices.where(best.values.isfinite(), _NO_TOKEN).cpu()
        if not links.is_last:
            links.send(states)
        self._tokens = links.share(tokens, like=torch.empty(rows, dtype=torch.long))

    def take(self) -> None:
        """Wait for the tokens that the last stage chose, and note them.

        Raises NotFiniteError, on every process, where its logits were no numbers.
        """
        if self._tokens is None:
            raise RuntimeError("Tokens are taken after the rows were read.")
        tokens: list[int] = self._tokens().tolist()
        if _NO_TOKEN in tokens:
            check_finite(torch.tensor([torch.nan]))
        self.writing.take(tokens, caches=self._cache.layers)
        if self.writing.ended:
            self._cache = None
