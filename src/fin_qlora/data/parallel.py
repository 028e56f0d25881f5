"""Spreading work over the cores, with a progress bar on a terminal."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    title: str,
    workers: int | None = None,
) -> list[Result]:
    """Return ``work`` of every item, in their order; a worker's error ends the whole.

    ``work`` and the items must be importable and picklable. One item, or one worker, is done here.
    """
    count = min(workers or cores(), len(items))
    with contextlib.ExitStack() as stack:
        if count > 1:
            pool = stack.enter_context(
                # not forked: a fork would copy the threads' locks of pyarrow
                ProcessPoolExecutor(
                    count,
                    mp_context=multiprocessing.get_context("spawn"),
                    initializer=signal.signal,
                    # an interrupt is for the parent, which ends the workers
                    initargs=(signal.SIGINT, signal.SIG_IGN),
                )
            )
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            results = pool.map(work, items)
        else:
            results = map(work, items)
        if not sys.stderr.isatty():
            return list(results)
        from tqdm import tqdm

        return list(tqdm(results, total=len(items), desc=title, leave=False))
