"""How a program ends: its code, what it leaves, and who is told."""

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from fin_qlora.errors import DataError
from fin_qlora.exits import EXIT_CODE_FILE, run_guarded, termination_as_interrupt

PROGRAM = """
import sys, time
from pathlib import Path
from fin_qlora.exits import run_guarded
from fin_qlora.files import directory_in_place

def work():
    with directory_in_place(Path(sys.argv[1]) / "adapter") as new:
        (new / "half").touch()
        print("working", flush=True)
        time.sleep(60)

sys.exit(run_guarded(work))
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_program_that_is_stopped_leaves_nothing_half_written(tmp_path, stop):
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(stop)
        assert process.stderr.read() == "fin-qlora: Interrupted.\n"
        assert process.wait() == 130
    assert list(tmp_path.iterdir()) == []


def test_sigterm_is_what_it_was_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    during = []
    assert run_guarded(lambda: during.append(signal.getsignal(signal.SIGTERM))) == 0
    assert during[0] is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_of_the_main_thread_signals_are_left_alone():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run_guarded(lambda: 3)))
    thread.start()
    thread.join()
    assert codes == [3]
    with termination_as_interrupt():
        pass


def fail() -> None:
    raise DataError("A row is wrong.")


def interrupt() -> None:
    raise KeyboardInterrupt


def test_the_first_process_that_fails_tells_the_code(tmp_path, monkeypatch, capsys):
    told = tmp_path / "code"
    monkeypatch.setenv(EXIT_CODE_FILE, str(told))
    assert run_guarded(lambda: None) == 0
    assert not told.exists()
    assert run_guarded(fail) == 3
    assert run_guarded(interrupt) == 130
    assert told.read_text() == "3"


def test_a_caller_that_has_gone_is_no_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(EXIT_CODE_FILE, str(tmp_path / "gone" / "code"))
    assert run_guarded(fail) == 3
    assert capsys.readouterr().err == "fin-qlora: A row is wrong.\n"
