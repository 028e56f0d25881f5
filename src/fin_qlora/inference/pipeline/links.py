"""What travels between stages: states to the next one, results from the last one to all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed

from .launch import Launch


class Links:
    """The connections of one stage; what is sent is kept until it has arrived."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._sent: deque[tuple[Any, torch.Tensor]] = deque()

    @property
    def is_last(self) -> bool:
        """Return whether this stage has the head."""
        return self._launch.rank == self._launch.stages - 1

    def receive(self, *shape: int, dtype: torch.dtype) -> torch.Tensor | None:
        """Return the states that the stage before sends; the first stage has none."""
        if self._launch.rank == 0:
            return None
        states = torch.empty(shape, dtype=dtype, device=self._launch.wire)
        distributed.recv(states, src=self._launch.rank - 1)
        return states

    def send(self, states: torch.Tensor) -> None:
        """Send states to the next stage, without waiting for it."""
        states = states.contiguous()  # it is this copy that must stay until it has arrived
        self._keep(distributed.isend(states, self._launch.rank + 1), states)

    def share(
        self, result: torch.Tensor | None, *, like: torch.Tensor
    ) -> Callable[[], torch.Tensor]:
        """Send the last stage's result to all; return what gives it, waiting where it must.

        Args:
            result: on the last stage, a tensor on the CPU.
            like: an empty tensor of its shape and type, which the other stages fill.
        """
        group = self._launch.results
        if result is None:
            work: Any = distributed.irecv(like, self._launch.stages - 1, group=group)

            def waited() -> torch.Tensor:
                work.wait()
                return like

            return waited
        for rank in range(self._launch.stages - 1):
            self._keep(distributed.isend(result, rank, group=group), result)
        return lambda: result

    def flush(self) -> None:
        """Wait until all that was sent has arrived."""
        while self._sent:
            self._sent.popleft()[0].wait()

    def _keep(self, work: Any, tensor: torch.Tensor) -> None:
        while self._sent and self._sent[0][0].is_completed():
            self._sent.popleft()
        self._sent.append((work, tensor))
