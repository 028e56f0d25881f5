"""Which rows share a global batch, and in what order: mixed by task, even in tokens, exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy
from transformers.trainer_pt_utils import BatchRebalanceSampler

from ...errors import EmptyDatasetError
from .dealing import Cut, dealt, repeated
from .shares import SamplingRule, evenly_mixed, rows_per_epoch

#: Global batches among which rows are sorted by length: few enough that epochs differ, many enough
#: that rows of one batch are alike.
_SORTED_TOGETHER = 50


class GlobalBatches(BatchRebalanceSampler):
    """The micro-batches of one process, lists of row numbers, epoch after epoch.

    An epoch has as many rows as the data set. Its global batches are a function of the lengths,
    the tasks, the seed, the number of the epoch and the size of a global batch, and of nothing
    else: however a global batch is cut into micro-batches and over processes, its rows are the
    same, and no communication is needed.

    A task that gives fewer rows to an epoch than it has goes on where it stopped in the next one,
    so that no row comes twice before all came once; one that gives more begins again, shuffled
    anew. The last global batch of an epoch may be smaller. The one that needs the most
    memory comes first, so that a run that does not fit fails at once.

    Deriving from transformers' own sampler of this kind is what makes its Trainer leave the
    batches to the processes that they are meant for; nothing else of it is used.

    Args:
        lengths: tokens of each row.
        tasks: the task of each row; None where there is one only.
        cut: how a global batch is computed.
        process: which of the processes this is, from 0.
        rule, temperature: the shares of the tasks, see ``rows_per_epoch``.
        seed: of all that is drawn.
        grouped: rows of like length share a batch, so that little is padded; otherwise each has
            long and short ones, so that all have about the same number of tokens.
        drop_last: leave the smaller batch at the end of an epoch out.
        steps_done: returns the steps of the optimizer that were made so far, from which the number
            of the epoch follows; without it ``set_epoch`` says the number.

    Raises:
        EmptyDatasetError: there is no row, or fewer than a global batch and ``drop_last``.
    """

    def __init__(  # the base class keeps another plan, which is of no use here
        self,
        lengths: Sequence[int],
        *,
        cut: Cut,
        tasks: Sequence[str] | None = None,
        process: int = 0,
        rule: SamplingRule = "proportional",
        temperature: float = 1.0,
        seed: int = 0,
        grouped: bool = False,
        drop_last: bool = False,
        steps_done: Callable[[], int] | None = None,
    ) -> None:
        self.row_lengths = numpy.asarray(lengths, dtype=numpy.int64)
        self.cut, self.process, self.seed, self.grouped = cut, process, seed, grouped
        named = numpy.zeros(len(lengths), dtype=int) if tasks is None else numpy.asarray(tasks)
        self.tasks, numbers = numpy.unique(named, return_inverse=True)
        self._rows = [numpy.flatnonzero(numbers == task) for task in range(len(self.tasks))]
        self.shares = rows_per_epoch(
            [len(rows) for rows in self._rows], rule=rule, temperature=temperature
        )
        self.steps, rest = divmod(len(lengths), cut.global_batch)
        self._tail = 0 if drop_last else rest
        self.steps += self._tail > 0
        if not self.steps:
            raise EmptyDatasetError(
                f"{len(lengths)} rows make no batch of {cut.global_batch}.",
                fix="Choose a smaller batch, or set dataloader_drop_last to false.",
            )
        self._epoch = 0
        self._steps_done = steps_done

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch that is drawn next, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the micro-batches of this process in one epoch."""
        full = self.steps - (self._tail > 0)
        return full * self.cut.accumulation + self.cut.turns(self._tail)

    def __iter__(self) -> Iterator[list[int]]:
        # transformers 5.23 does not reach the sampler of a resumed run with `set_epoch`
        done = self._steps_done
        for batch in self.global_batches(self._epoch if done is None else done() // self.steps):
            lengths = self.row_lengths[batch].tolist()
            for turn in dealt(batch, lengths, cut=self.cut, grouped=self.grouped):
                yield turn[self.process]

    def repeated(self, step: int) -> list[bool]:
        """Return which micro-batches of this process in a step only keep others from waiting.

        Their rows are computed by another process too, and must not count twice.

        Args:
            step: steps of the optimizer before it, over all epochs.
        """
        last = self._tail and step % self.steps == self.steps - 1
        rows = self._tail if last else self.cut.global_batch
        return [turn[self.process] for turn in repeated(rows, cut=self.cut)]

    def global_batches(self, epoch: int) -> list[list[int]]:
        """Return the rows of each step of the optimizer in an epoch."""
        rows, places = [], []
        for task in range(len(self.tasks)):
            drawn = self._drawn(task, epoch)
            mine = numpy.flatnonzero(self._mixture == task)
            steps = mine[mine < self._end] // self.cut.global_batch
            drawn = drawn[: len(steps)]
            arrange = self._alike if self.grouped else self._spread
            rows.append(drawn)
            places.append(arrange(drawn, steps, self._generator(epoch, task, 1)))
        together, step = numpy.concatenate(rows), numpy.concatenate(places)
        by_step = together[numpy.argsort(step, kind="stable")]
        ends = numpy.cumsum(numpy.bincount(step, minlength=self.steps))
        batches = [batch.tolist() for batch in numpy.split(by_step, ends[:-1])]
        return self._heaviest_first(batches, self._generator(epoch, len(self.tasks), 2))

    @property
    def _end(self) -> int:
        """Return the rows of an epoch, without those that are left out at its end."""
        return (self.steps - (self._tail > 0)) * self.cut.global_batch + self._tail

    @cached_property
    def _mixture(self) -> Any:
        return numpy.asarray(evenly_mixed(self.shares))

    def _generator(self, epoch: int, task: int, purpose: int) -> numpy.random.Generator:
        return numpy.random.default_rng([self.seed, epoch, task, purpose])

    def _drawn(self, task: int, epoch: int) -> Any:
        """Return the rows that a task gives to an epoch, in random order.

        They are a piece of an endless row of shuffles, so that nothing is drawn by luck.
        """
        rows, count = self._rows[task], self.shares[task]
        first = epoch * count
        shuffles = range(first // len(rows), (first + count - 1) // len(rows) + 1)
        drawn = [self._generator(number, task, 0).permutation(rows) for number in shuffles]
        start = first - shuffles.start * len(rows)
        return numpy.concatenate([rows[:0], *drawn])[start : start + count]

    def _alike(self, drawn: Any, steps: Any, _: numpy.random.Generator) -> Any:
        """Return the step of each row: rows that are alike in length share one."""
        full = self.steps - (self._tail > 0)
        together = max(1, min(full // 4, _SORTED_TOGETHER))
        # what is left for the last, smaller batch is sorted with no other
        stretch = numpy.where(steps < full, steps // together, self.steps)
        order = numpy.lexsort((-self.row_lengths[drawn], stretch))
        placed = numpy.empty_like(steps)
        placed[order] = steps
        return placed

    def _spread(self, drawn: Any, steps: Any, generator: numpy.random.Generator) -> Any:
        """Return the step of each row: every batch has long and short ones in the same measure.

        Where a batch has room for k rows, its places lie one in each k-th part of the lengths.
        """
        counts = numpy.bincount(steps, minlength=self.steps)
        place = numpy.arange(len(steps)) - numpy.repeat(numpy.cumsum(counts) - counts, counts)
        depth = (place + generator.random(len(steps))) / counts[steps]
        placed = numpy.empty_like(steps)
        placed[numpy.argsort(-self.row_lengths[drawn], kind="stable")] = steps[numpy.argsort(depth)]
        return placed

    def _heaviest_first(
        self, batches: list[list[int]], generator: numpy.random.Generator
    ) -> list[list[int]]:
        full = self.steps - (self._tail > 0)
        if full:
            order = generator.permutation(full).tolist() if self.grouped else list(range(full))
            heaviest = max(order, key=lambda step: self._weight(batches[step]))
            order.remove(heaviest)
            batches[:full] = [batches[step] for step in (heaviest, *order)]
        return batches

    def _weight(self, batch: list[int]) -> int:
        """Return what grows with the memory of a batch: padded, its longest row says how much."""
        lengths = self.row_lengths[batch]
        return int(lengths.max() if self.grouped else lengths.sum())
