"""A model in stages, asked like a whole one: scoring and generation take it in a model's place."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ...models.base import BaseIdentity, Quantization
from ...prompts import PromptContract
from ..labels.layout import LabelBatch, picked_states
from ..labels.tree import LabelTree, totals_of
from ..reading.cache import passing_cache, reading_cache, remembered
from ..reading.last_layer import LastLayer
from .gpipe import GPipe, Work
from .launch import Launch
from .links import Links
from .micro_batches import cut_rows
from .report import PipelineReport, StageReport, stage_report
from .splitting import Split
from .stage import Stage
from .turns import written_in_turns

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Batches whose results may be under way while the next is read.
AHEAD = 2


class StagedModel:
    """This process's stage of a model, and its part in asking all of it.

    Every process of the launch calls the same with the same arguments, and each gets all results.

    Attributes:
        config, generation_config: of the base.
        tokenizer: the adapter's or the base's.
        tasks: name of each task that an adapter was trained for -> its prompt; none for a base.
        base: identity of the base.
        revision: commit of the adapter's or base's repository.
        quantization: how the base was loaded.
        micro_batches: how many parts a batch is cut into.
        split: where the base is cut.
        rank: of this process.
    """

    def __init__(
        self,
        stage: Stage,
        *,
        launch: Launch,
        split: Split,
        config: Any,
        generation_config: Any,
        tokenizer: PreTrainedTokenizerBase,
        tasks: Mapping[str, PromptContract],
        base: BaseIdentity,
        revision: str | None,
        quantization: Quantization,
        micro_batches: int,
    ) -> None:
        self.config = config
        self.generation_config = generation_config
        self.tokenizer = tokenizer
        self.tasks = dict(tasks)
        self.base = base
        self.revision = revision
        self.quantization: Quantization = quantization
        self.micro_batches = micro_batches
        self.split = split
        self.rank = launch.rank
        self._stage = stage
        self._launch = launch
        self._links = Links(launch)
        self._gpipe = GPipe(launch)

    def totals(
        self, batches: Iterable[LabelBatch], *, tree: LabelTree, beginning: Sequence[int]
    ) -> Generator[torch.Tensor, None, None]:
        """Yield the summed log-probability of each label, (rows, labels), for each batch.

        Batches are read ahead: the first stage is at the next one while the last ends this one.
        """
        last = LastLayer(self._stage.causal)
        with self._at_work(), last.watched():
            before = self._read_once(beginning)
            cache = passing_cache(before) if before else None
            coming: deque[Callable[[], torch.Tensor]] = deque()
            for batch in batches:
                coming.append(self._totals_of(batch, tree, cache, last))
                if len(coming) > AHEAD:
                    yield coming.popleft()()
            while coming:
                yield coming.popleft()()
            self._links.flush()

    def continued(
        self,
        batches: Iterable[Sequence[list[int]]],
        *,
        beginning: Sequence[int],
        stops: Sequence[int],
        room: int,
    ) -> Generator[list[list[int]], None, None]:
        """Yield, for each batch of prompts, the ids that follow each prompt."""
        with self._at_work():
            yield from written_in_turns(
                self._stage,
                self._links,
                batches,
                before=self._read_once(beginning),
                stops=stops,
                room=room,
                micro_batches=self.micro_batches,
            )
            self._links.flush()

    def report(self) -> PipelineReport:
        """Return what all stages took and waited since the last report; every process must call."""
        own = stage_report(self._stage, planned=self.split.bytes[self.rank])
        self._stage.clock.restart()
        stages: list[StageReport] = self._launch.gathered(own)
        return PipelineReport(stages=tuple(stages), micro_batches=self.micro_batches)

    def close(self) -> None:
        """Part from the other processes."""
        self._launch.close()

    def __enter__(self) -> StagedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _totals_of(
        self, batch: LabelBatch, tree: LabelTree, cache: Any, last: LastLayer
    ) -> Callable[[], torch.Tensor]:
        """Send one batch through; return what gives its totals."""
        rows, width = batch.input_ids.shape
        self._stage.check_window(batch.allowed.shape[-1])
        parts = cut_rows(rows, micro_batches=self.micro_batches)
        found = self._gpipe.run(
            [self._scoring(batch.rows(part.start, part.stop), tree, cache, last) for part in parts],
            shapes=[(part.stop - part.start, width, self._stage.width) for part in parts],
            dtype=self._stage.dtype,
        )
        totals = None if found is None else found.cpu()
        return self._links.share(totals, like=torch.empty(rows, len(tree.answers)))

    def _scoring(self, batch: LabelBatch, tree: LabelTree, cache: Any, last: LastLayer) -> Work:
        @torch.no_grad()
        def work(before: torch.Tensor | None) -> torch.Tensor:
            last.picked = batch.picked
            with self._stage.clock:
                states = self._stage.states(
                    before,
                    ids=batch.input_ids,
                    positions=batch.position_ids,
                    allowed=batch.allowed,
                    cache=cache,
                )
                if not self._links.is_last:
                    return states
                picked = picked_states(states, batch.picked)
                return totals_of(self._stage.logits(picked), tree)

        return work

    @torch.no_grad()
    def _read_once(self, beginning: Sequence[int]) -> Any:
        """Read what all prompts begin with; each stage keeps it for its own layers."""
        if not beginning:
            return None
        width = len(beginning)
        cache = reading_cache(self._stage.layers)
        before = self._links.receive(1, width, self._stage.width, dtype=self._stage.dtype)
        with self._stage.clock:
            states = self._stage.states(
                before,
                ids=torch.tensor([list(beginning)]),
                positions=torch.arange(width)[None],
                allowed=torch.ones(1, width, width, dtype=torch.bool).tril(),
                cache=cache,
            )
        if not self._links.is_last:
            self._links.send(states)
        return remembered(cache)

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Count the time of a call, and say so when another process is lost in it."""
        begun = time.perf_counter()
        try:
            with self._launch.lost_is_an_error():
                yield
        finally:
            self._stage.clock.seconds += time.perf_counter() - begun
