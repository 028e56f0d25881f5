"""Threads for long work, which one user cannot keep from the others."""

import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, eq=False)
class _Task:
    user: int
    context: contextvars.Context
    work: Callable[[], Any]
    future: "Future[Any]"


class SharedPool:
    """A pool of threads of which at most half, rounded up, work for one user at a time.

    A thread that gets free goes to whoever has fewest, and among these to who came first.
    """

    def __init__(self, threads: int, *, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._share = (threads + 1) // 2
        self._running: Counter[int] = Counter()
        self._waiting: list[_Task] = []
        self._guard = threading.Lock()

    def __enter__(self) -> "SharedPool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget what has not begun, and wait for the rest."""
        with self._guard:
            forgotten, self._waiting = self._waiting, []
        for task in forgotten:
            task.future.cancel()
        self._pool.shutdown()

    def submit(self, user: int, work: Callable[[], _Answer]) -> "Future[_Answer]":
        """Do some work for a user, in the caller's context, as soon as it is their turn."""
        future: Future[_Answer] = Future()
        with self._guard:
            self._waiting.append(_Task(user, contextvars.copy_context(), work, future))
            self._start()
        return future

    def _start(self) -> None:
        while self._free:
            entitled = [task for task in self._waiting if self._running[task.user] < self._share]
            if not entitled:
                return
            task = min(entitled, key=lambda task: self._running[task.user])
            self._waiting.remove(task)
            if task.future.set_running_or_notify_cancel():
                self._running[task.user] += 1
                self._free -= 1
                self._pool.submit(self._run, task)

    def _run(self, task: _Task) -> None:
        try:
            answer = task.context.run(task.work)
        except BaseException as error:
            task.future.set_exception(error)
        else:
            task.future.set_result(answer)
        finally:
            with self._guard:
                self._running[task.user] -= 1
                if not self._running[task.user]:
                    del self._running[task.user]
                self._free += 1
                self._start()
