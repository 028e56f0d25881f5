"""Work that is done every few seconds by a thread of its own, once there is any."""

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger("fin_qlora_hub")


class Periodic:
    """Calls `work` again and again from the first `begin` on, and once more at the end.

    A call that fails is told in the log; the next one comes all the same.
    """

    def __init__(
        self, work: Callable[[], object], *, name: str, seconds: Callable[[], float]
    ) -> None:
        self._work = work
        self._name = name
        self._seconds = seconds
        self._closing = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start the thread, unless it runs or was closed."""
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """End the thread, and do the rest of the work."""
        with self._guard:
            self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._work()

    def _start(self) -> None:
        with self._guard:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(self._seconds()):
            try:
                self._work()
            except Exception:
                _logger.exception("%s: the work failed and is tried again", self._name)
