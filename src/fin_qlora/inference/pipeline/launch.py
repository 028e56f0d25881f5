"""The processes of a pipeline: finding one another, agreeing, and ending together."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed

from ...errors import FinQloraError, UsageError
from ...models.peers import Peers

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The processes of a launch, one for each stage, and this one among them.

    Attributes:
        rank: of this process; stages are in the order of ranks.
        stages: how many there are.
        device: what this process computes on.
        wire: where states lie when they travel: on the GPU, or on the CPU where processes have
            none of their own.
        results: group over which numbers on the CPU travel.
        peers: where the processes are.
        timeout: seconds that one waits for another.
        made: whether the processes found one another here, so that they part here as well.
    """

    rank: int
    stages: int
    device: torch.device
    wire: torch.device
    results: Any
    peers: Peers
    timeout: float
    made: bool

    @classmethod
    def of_this_process(cls, *, stages: int, timeout: float) -> Launch:
        """Find the other processes: by gloo on processors, by NCCL for states on GPUs.

        Raises UsageError where as many processes were not started as there are stages.
        """
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if distributed.is_initialized():
            world = distributed.get_world_size()
        if world != stages:
            raise UsageError(
                f"{stages} pipeline stages need {stages} processes, one each; "
                f"{world} {'was' if world == 1 else 'were'} started.",
                fix=f"Start it with `torchrun --nproc_per_node {stages} -m "
                f"fin_qlora.recipes.evaluation --pipeline_stages {stages} …`.",
            )
        device = _device()
        made = not distributed.is_initialized()
        wait = datetime.timedelta(seconds=timeout)
        if made:
            backend = "cpu:gloo,cuda:nccl" if _has_its_own(device) else "gloo"
            options = {} if world > 1 else _alone()
            distributed.init_process_group(backend, timeout=wait, **options)
        return cls(
            rank=distributed.get_rank(),
            stages=stages,
            device=device,
            wire=device if _travels_by_nccl(device) else torch.device("cpu"),
            results=distributed.new_group(backend="gloo", timeout=wait),
            peers=Peers.of_this_run(),
            timeout=timeout,
            made=made,
        )

    def lost_is_an_error(self) -> Any:
        """Return a context in which a lost process becomes a ProcessLostError."""
        return self.peers.lost_is_an_error(
            timeout=self.timeout,
            fix="Look for its own last words above, and for the system's log when it was killed "
            "for want of memory; rows that are finished are kept.",
        )

    def gathered(self, value: Any) -> list[Any]:
        """Return the values of all processes by rank; each must call."""
        everyone: list[Any] = [None] * self.stages
        distributed.all_gather_object(everyone, value, group=self.results)
        return everyone

    def together(self, action: Callable[[], Result]) -> Result:
        """Do something on each process; where it fails on one, all fail with the same error."""
        error: FinQloraError | None = None
        found: Result | None = None
        try:
            found = action()
        except FinQloraError as raised:
            error = raised
        self.agree(error)
        return found  # type: ignore[return-value]

    def first_of_machine(self, action: Callable[[], Result]) -> Result:
        """Do something on the first process of each machine, then on the others.

        What the first has fetched or read to the end, the others find.
        """
        first = os.environ.get("LOCAL_RANK", "0") == "0"
        found = self.together(lambda: action() if first else None)
        after = self.together(lambda: None if first else action())
        return found if first else after  # type: ignore[return-value]

    def agree(self, error: FinQloraError | None) -> None:
        """Raise the error of the first process that has one; each must call."""
        for each in self.gathered(error):
            if each is not None:
                raise each

    def close(self) -> None:
        """Part from the other processes."""
        if self.made and distributed.is_initialized():
            distributed.destroy_process_group()


def _device() -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", number % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def _has_its_own(device: torch.device) -> bool:
    """Return whether no other process of this machine computes on this GPU; NCCL asks for that."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return device.type == "cuda" and processes <= torch.cuda.device_count()


def _travels_by_nccl(device: torch.device) -> bool:
    return _has_its_own(device) and "nccl" in str(distributed.get_backend_config())


def _alone() -> dict[str, Any]:
    store = distributed.HashStore()  # type: ignore[attr-defined]
    return {"store": store, "rank": 0, "world_size": 1}
