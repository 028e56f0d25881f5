"""Waiting for what a server does in its own time."""

import time
from collections.abc import Callable

SECONDS = 30.0
PAUSE_SECONDS = 0.02


def wait_until(holds: Callable[[], object], *, seconds: float = SECONDS) -> bool:
    """Ask again and again whether something holds; False where it does not in `seconds`."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(PAUSE_SECONDS)
    return True
