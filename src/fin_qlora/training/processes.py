"""Processor cores for a run without a GPU."""

from __future__ import annotations

import os


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
