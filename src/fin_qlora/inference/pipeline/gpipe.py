"""Batches through the stages by PyTorch's GPipe schedule: one pass each, nothing is kept of it.

Micro-batches of a schedule have shapes of their own here. PyTorch's stages receive into tensors of
one shape, found by a pass of its own or given beforehand; since every process lays out every batch,
each knows what comes, and ``_Receiving`` puts a tensor of that shape there. So a schedule is made
once for each number of micro-batches, and its first exchange happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from .launch import Launch

#: What a stage does with the states of the one before (None on the first): the next states or,
#: on the last stage, results with one row for each row.
Work = Callable[[torch.Tensor | None], torch.Tensor]


class GPipe:
    """PyTorch's GPipe schedule over the stages of a launch."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._schedules: dict[int, ScheduleGPipe] = {}
        self._bench = _Bench()

    def run(
        self, works: Sequence[Work], *, shapes: Sequence[Sequence[int]], dtype: torch.dtype
    ) -> torch.Tensor | None:
        """Run the micro-batches of one batch; return the results on the last stage.

        Args:
            works: of each micro-batch.
            shapes: of the states that each has from the stage before.
        """
        self._bench.lay_out(works, shapes, dtype=dtype)
        count = len(works)
        if count not in self._schedules:
            self._schedules[count] = self._made(count, dtype=dtype)
        numbers = torch.arange(count)
        first = (numbers,) if self._launch.rank == 0 else ()
        try:
            found: torch.Tensor | None = self._schedules[count].eval(*first, number=numbers)
        except RuntimeError as error:
            if error.__cause__ is None:
                raise
            raise error.__cause__ from None  # PyTorch wraps what a stage raises
        return found

    def _made(self, count: int, *, dtype: torch.dtype) -> ScheduleGPipe:
        states = torch.empty(1, 1, 1, dtype=dtype)
        is_first = self._launch.rank == 0
        stage = _Receiving(
            self._bench,
            self._launch.rank,
            self._launch.stages,
            self._launch.wire,
            input_args=(torch.arange(1) if is_first else states,),
            output_args=(states,),
        )
        return ScheduleGPipe(stage, n_microbatches=count)


class _Bench(nn.Module):
    """Where the work of each micro-batch lies."""

    def __init__(self) -> None:
        super().__init__()
        self._works: Sequence[Work] = ()
        self._shapes: Sequence[Sequence[int]] = ()
        self._dtype = torch.float32

    def lay_out(
        self, works: Sequence[Work], shapes: Sequence[Sequence[int]], *, dtype: torch.dtype
    ) -> None:
        self._works, self._shapes, self._dtype = works, shapes, dtype

    def room(self, number: int, device: torch.device) -> torch.Tensor:
        return torch.empty(tuple(self._shapes[number]), dtype=self._dtype, device=device)

    def forward(self, states: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        before = states if states.is_floating_point() else None
        return self._works[int(number)](before)


class _Receiving(PipelineStage):
    """A stage that receives micro-batches of any shape."""

    def get_fwd_recv_ops(self, fwd_chunk_id: int) -> list[distributed.P2POp]:
        for info in self.args_recv_info[fwd_chunk_id]:
            if not info.is_root_arg:
                bench: Any = self.submod
                info.buffer = bench.room(fwd_chunk_id, self.device)
        return super().get_fwd_recv_ops(fwd_chunk_id)
