"""Running other programs so that Ctrl-C ends them in order and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import psutil

#: Seconds that an interrupted program has for leaving a checkpoint.
GRACE = 60.0


def run_program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
) -> int:
    """Run a program to its end and return its exit code; its stderr is ours.

    ``on_line`` gets every line of its stdout. On Ctrl-C the programs that it started are
    interrupted, it is waited for, and KeyboardInterrupt is raised.
    """
    # A group of its own: the terminal's Ctrl-C would else hit launcher and worker at once, and the
    # launcher would end first with a traceback, leaving a worker that nobody waits for.
    with subprocess.Popen(
        list(command),
        env=dict(environment),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        process_group=0,
    ) as process:
        try:
            for line in process.stdout or ():
                on_line(line.rstrip("\n"))
            return process.wait()
        except BaseException:
            _interrupt(process)
            raise


def python_module(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def as_typed(command: Sequence[str]) -> str:
    """Return a command as a person would type it."""
    return shlex.join(command)


def _interrupt(process: subprocess.Popen[str]) -> None:
    """End a launcher by its workers: they get the Ctrl-C, it ends when they have."""
    # a second Ctrl-C means at once
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        _interrupt_workers(process.pid)
        process.wait(timeout=GRACE)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _interrupt_workers(launcher: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        started = psutil.Process(launcher)
        workers = started.children(recursive=True)
        for worker in workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGINT)
        if not workers:
            started.terminate()
