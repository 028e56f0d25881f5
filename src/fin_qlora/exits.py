"""How a program of this package ends: one sentence and an exit code that the manual lists.

0 well · 1 findings or an unexpected error · 2 usage · 3 data · 4 environment · 5 hub ·
130 interrupted
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from .errors import FinQloraError

#: A launcher between us and our caller may hide our exit code; it is also written here.
EXIT_CODE_FILE = "FIN_QLORA_EXIT_CODE_FILE"


def run_guarded(function: Callable[[], int | None]) -> int:
    """Run ``function`` and return its exit code; say any error as one sentence on stderr.

    The traceback of an unexpected error is shown only when FIN_QLORA_DEBUG is set.
    """
    try:
        code = function() or 0
    except FinQloraError as error:
        code = error.exit_code
        _say(str(error))
    except KeyboardInterrupt:
        code = 130
        _say("Interrupted.")
    except BrokenPipeError:
        # the reader of our output has gone; keep the interpreter from complaining at its end
        code = 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # every other error still ends in one sentence
        code = _unexpected(error)
    if EXIT_CODE_FILE in os.environ:
        Path(os.environ[EXIT_CODE_FILE]).write_text(str(code), encoding="utf-8")
    return code


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
