"""Runs the parts of a build, one process a worker; a worker that dies takes one part with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_JOBS_FOR_ONE_WORKER = 50  # a fresh process gives back what its parser kept


def run(
    function: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int
) -> Iterator[tuple[Job, Result | None]]:
    """Yield (job, result) as jobs end, in any order; None for a job whose process died.

    With one worker everything runs in this process. ``function`` and the jobs must be picklable.
    """
    if workers <= 1:
        for job in jobs:
            yield job, function(job)
        return
    pending = list(reversed(jobs))
    while pending:
        suspects = yield from _until_one_dies(function, pending, workers)
        for job in suspects:  # one at a time, so that the one that kills its process is known
            yield job, _alone(function, job)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        max_tasks_per_child=_JOBS_FOR_ONE_WORKER,
    )


def _until_one_dies(
    function: Callable[[Job], Result], pending: list[Job], workers: int
) -> Generator[tuple[Job, Result | None], None, list[Job]]:
    """Work ``pending`` off from its end; return the jobs that ran when a process died."""
    running: dict[Future[Result], Job] = {}
    pool = _pool(workers)
    try:
        while pending or running:
            while pending and len(running) < 2 * workers:
                running[pool.submit(function, pending[-1])] = pending[-1]
                pending.pop()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                yield running.pop(future), result
    except BrokenProcessPool:
        return list(running.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _alone(function: Callable[[Job], Result], job: Job) -> Result | None:
    with _pool(1) as pool:
        try:
            return pool.submit(function, job).result()
        except BrokenProcessPool:
            return None
