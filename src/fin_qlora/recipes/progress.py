"""What a run says while it goes: lines and bars on stderr, from the first process only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from accelerate import PartialState


def announce(sentence: str) -> None:
    """Print one line on stderr, once for all processes."""
    if PartialState().is_main_process:
        sys.stderr.write(f"· {sentence}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def first_on_each_machine() -> Iterator[None]:
    """Let the first process of a machine go through the block before the others do.

    Also when it fails, so that the others come to the same error and not to a broken connection.
    """
    state = PartialState()
    if not state.is_local_main_process:
        state.wait_for_everyone()
    try:
        yield
    finally:
        if state.is_local_main_process:
            state.wait_for_everyone()


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a callback that moves a progress bar to the number of rows done."""
    from tqdm import tqdm

    often = 0.2 if sys.stderr.isatty() else 5.0  # a log file needs no animation
    with tqdm(
        total=total,
        desc=what,
        unit="row",
        file=sys.stderr,
        mininterval=often,
        disable=not PartialState().is_main_process,
    ) as bar:

        def move(done: int) -> None:
            bar.update(done - bar.n)

        yield move


@contextlib.contextmanager
def rows_and_rate(task: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a callback that moves a bar of rows, rows a second and time left on a terminal.

    Elsewhere, and on other processes than the first, nothing is shown.
    """
    from tqdm import tqdm

    quiet = not PartialState().is_main_process or not sys.stderr.isatty()
    with tqdm(
        total=total, desc=task, unit=" rows", file=sys.stderr, disable=quiet, leave=False
    ) as bar:
        first: list[int] = []

        def move(done: int) -> None:
            if not first:  # rows of an earlier start would make the rate too good
                first.append(done)
                bar.initial = bar.n = bar.last_print_n = done
                bar.refresh()
            bar.update(done - bar.n)

        yield move
