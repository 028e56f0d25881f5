"""The processes of a launch: whether they found one another, agree, and the cores of each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...errors import EnvironmentFault
from ...evidence.environment import cores, threads_asked

if TYPE_CHECKING:
    import torch

#: Set by ``accelerate launch`` for every process that it starts.
_LAUNCHED = "ACCELERATE_MIXED_PRECISION"


def check_world(found: int) -> None:
    """Refuse to train when the launcher started more processes than found one another.

    Each would train alone on all rows and write the same folder: on a machine without a GPU that
    happens when the processes are not told to use the CPU.

    Args:
        found: the world size that the trainer has.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != found:
        raise EnvironmentFault(
            f"The launcher started {started} processes, but each sees a world of {found}.",
            fix="Set use_cpu to true, or launch with a profile of `fin-qlora recipes ls`.",
        )


def use_cores(threads: int = 0) -> None:
    """Compute with ``threads`` threads, or when 0 as many as asked for, or a share of the cores.

    OMP_NUM_THREADS is obeyed, except for the 1 that ``accelerate launch`` sets by itself: it would
    leave most of a machine without a GPU idle. Does nothing where there is a GPU.
    """
    import torch

    if torch.accelerator.is_available():
        return
    torch.set_num_threads(threads if threads > 0 else _threads())


def _threads() -> int:
    share = max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    asked = threads_asked()
    if _LAUNCHED not in os.environ:
        return asked or share
    # the launcher also puts a number of its own there, which counts cores that are not ours
    return min(asked, share) if asked > 1 else share


def on_any_process(flags: torch.Tensor) -> list[bool]:
    """Return for each flag whether it is set on any process: all of them decide alike.

    Args:
        flags: booleans of shape (flags,), on the device of the process.
    """
    import torch

    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        flags = flags.to(torch.int32)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in flags.tolist()]
