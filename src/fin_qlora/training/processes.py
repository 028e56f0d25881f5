"""The processes of a launch: whether they found one another, and the cores of each."""

from __future__ import annotations

import os

from ..errors import EnvironmentFault


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
    """Compute with ``threads`` threads, or with this process's share of the cores when 0.

    ``accelerate launch`` gives each process one thread unless told otherwise, which on a machine
    without a GPU leaves most of it idle. Does nothing where there is a GPU.
    """
    import torch

    if torch.accelerator.is_available():
        return
    if threads < 1:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = max(1, (cores or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    torch.set_num_threads(threads)
