"""How often something may be tried; kept in memory, by each process for itself."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_KNOWN = 10_000


class Attempts:
    """Allows so many attempts in so many seconds, for each key by itself."""

    def __init__(
        self, most: int, *, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._now = now
        self._guard = threading.Lock()
        self._known: OrderedDict[Hashable, list[float]] = OrderedDict()

    def spend(self, key: Hashable) -> bool:
        """Count one attempt; False where there have been too many, and it does not count."""
        with self._guard:
            recent = self._recent(key)
            allowed = len(recent) < self._most
            if allowed:
                recent.append(self._now())
            self._known[key] = recent
            self._known.move_to_end(key)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            return allowed

    def allows(self, key: Hashable) -> bool:
        """Say whether another attempt would be allowed, without making one."""
        with self._guard:
            return len(self._recent(key)) < self._most

    def _recent(self, key: Hashable) -> list[float]:
        now = self._now()
        return [when for when in self._known.get(key, []) if now - when < self._seconds]


class Pace:
    """Tells those who ask too often to slow down, a little more each time (RFC 8628, 3.5)."""

    def __init__(self, *, step: float = 5, now: Callable[[], float] = time.monotonic) -> None:
        self._step = step
        self._now = now
        self._guard = threading.Lock()
        self._known: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def keeps(self, key: Hashable, *, interval: float) -> bool:
        """Say whether the last question of this key was at least an interval ago."""
        with self._guard:
            now = self._now()
            last, wanted = self._known.pop(key, (None, interval))
            in_time = last is None or now - last >= wanted - 0.5
            self._known[key] = now, wanted if in_time else wanted + self._step
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            return in_time
