"""Programs that are started are ended, and Ctrl-C goes to the worker, not to its launcher."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from fin_qlora.cli.processes import run_program
from fin_qlora.exits import termination_as_interrupt


def program(text):
    return [sys.executable, "-c", textwrap.dedent(text)]


def test_lines_come_as_they_are_printed_and_the_exit_code_is_kept():
    lines = []
    code = run_program(
        program("print('a'); print('b'); raise SystemExit(3)"),
        environment=os.environ,
        on_line=lines.append,
    )
    assert (code, lines) == (3, ["a", "b"])


WORKER = """
import signal, sys, time
try:
    print("working", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("checkpoint", flush=True)
    sys.exit(130)
"""

LAUNCHER = f"""
import subprocess, sys
try:
    sys.exit(subprocess.call([sys.executable, "-c", {WORKER!r}]) and 1)
except KeyboardInterrupt:
    print("launcher was hit", flush=True)
    raise
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_the_worker_leave_its_checkpoint(stop):
    lines = []

    def interrupt_when_working():
        while "working" not in lines:
            time.sleep(0.02)
        os.kill(os.getpid(), stop)

    helper = threading.Thread(target=interrupt_when_working)
    helper.start()
    # the lines after the interrupt stay in the pipe: that the worker ended in order is seen by
    # the launcher ending with it, well before its 60 seconds
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), termination_as_interrupt():
        run_program(program(LAUNCHER), environment=os.environ, on_line=lines.append)
    helper.join()
    assert time.monotonic() - begun < 30
    assert lines == ["working"]
    assert not [c for c in psutil.Process().children(recursive=True) if "working" in c.cmdline()]


def test_a_program_that_ignores_the_interrupt_is_killed(monkeypatch):
    monkeypatch.setattr("fin_qlora.cli.processes.GRACE", 0.2)
    deaf = """
        import signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("up", flush=True)
        time.sleep(60)
    """

    def interrupt(_line):
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_program(program(deaf), environment=os.environ, on_line=interrupt)
    assert time.monotonic() - begun < 20


PROGRAM = f"""
import os, sys
from fin_qlora.cli.processes import run_program
from fin_qlora.exits import termination_as_interrupt
try:
    with termination_as_interrupt():
        run_program([sys.executable, "-c", {LAUNCHER!r}], environment=os.environ, on_line=print)
except KeyboardInterrupt:
    sys.exit("unwound")
"""


def test_sigterm_twice_in_a_row_still_stops_everything():
    command = [sys.executable, "-u", "-c", PROGRAM]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) == 2
        for _ in range(3):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        assert process.stderr.read() == "unwound\n"
    assert not [child for child in started if child.is_running()]
