"""How a program of this package ends: one sentence and an exit code that the manual lists.

0 well · 1 findings or an unexpected error · 2 usage · 3 data · 4 environment · 5 hub ·
130 interrupted
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from .errors import FinQloraError

#: A launcher between us and our caller may hide our exit code; it is also written here.
EXIT_CODE_FILE = "FIN_QLORA_EXIT_CODE_FILE"


def run_guarded(function: Callable[[], int | None]) -> int:
    """Run ``function`` and return its exit code; say any error as one sentence on stderr.

    SIGTERM ends it as Ctrl-C does, so that nothing half-written stays behind. The traceback of an
    unexpected error is shown only when FIN_QLORA_DEBUG is set.
    """
    with termination_as_interrupt():
        code = _code(function)
        _tell_the_caller(code)
    return code


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the block as Ctrl-C does, so that what it started is stopped.

    Does nothing outside of the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        # `timeout` and service managers send it more than once; unwinding takes its time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _code(function: Callable[[], int | None]) -> int:
    try:
        return function() or 0
    except FinQloraError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _say("Interrupted.")
        return 130
    except BrokenPipeError:
        # the reader of our output has gone; keep the interpreter from complaining at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # every other error still ends in one sentence
        return _unexpected(error)


def _tell_the_caller(code: int) -> None:
    """Write a code that is not 0 where the caller wants it; the first process to fail is heard.

    A launcher ends the other processes when one has failed: their "interrupted" is not the reason.
    """
    if code and EXIT_CODE_FILE in os.environ:
        # a caller that was stopped has taken the file's folder with it
        with (
            contextlib.suppress(OSError),
            Path(os.environ[EXIT_CODE_FILE]).open("x", encoding="utf-8") as stream,
        ):
            stream.write(str(code))


def _unexpected(error: Exception) -> int:
    if os.environ.get("FIN_QLORA_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _say("The disk is full. Free some space or choose another output directory.")
        return 4
    first = str(error).strip().splitlines()
    _say(
        f"{type(error).__name__}: {first[0] if first else 'no message'} "
        "Set FIN_QLORA_DEBUG=1 to see where it happened."
    )
    return 1


def _say(sentence: str) -> None:
    sys.stderr.write(f"fin-qlora: {sentence}\n")
    sys.stderr.flush()
