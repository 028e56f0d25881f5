"""One line says how a training goes, on a terminal in place, in a log each time."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from fin_qlora.recipes import live
from fin_qlora.recipes.live import LiveLine, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when told to."""
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(live, "_memory", lambda: 3 * 2**29)
    return now


def state(step, *, first=True):
    return SimpleNamespace(global_step=step, max_steps=100, is_world_process_zero=first)


def go(line, clock, *, first=True, begin=0):
    line.on_train_begin(None, state(begin), None)
    for step, loss in ((begin + 10, 2.5), (begin + 20, 1.25)):
        clock[0] += 5.0
        line.on_step_end(None, state(step, first=first), None)
        logs = {"loss": loss, "loss/xbrl_tags": loss / 2, "num_tokens": step * 1000, "epoch": 1}
        line.on_log(None, state(step, first=first), None, logs=logs)
    line.on_log(None, state(begin + 20), None, logs={"train_runtime": 3.0, "train_loss": 2.0})
    line.on_train_end(None, state(begin + 20), None)


def test_in_a_log_file_it_is_a_line_each_time(clock):
    stream = io.StringIO()
    go(LiveLine(cut=12, stream=stream), clock)
    assert stream.getvalue().splitlines() == [
        "· step 10/100 · loss 2.5000 · xbrl_tags 1.2500 · 2,000 tokens/s · 1.5 GiB · 45 s left"
        " · 12 rows cut",
        "· step 20/100 · loss 1.2500 · xbrl_tags 0.6250 · 2,000 tokens/s · 1.5 GiB · 40 s left"
        " · 12 rows cut",
    ]


def test_on_a_terminal_it_is_one_line_that_is_written_over(clock):
    stream = Terminal()
    go(LiveLine(stream=stream), clock)
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert "rows cut" not in written
    *_, last = written.rstrip("\n").split("\r")
    assert last.rstrip().startswith("· step 20/100 · loss 1.2500")


def test_a_resumed_run_counts_its_own_speed(clock):
    stream = io.StringIO()
    go(LiveLine(stream=stream), clock, begin=50)
    first, second = stream.getvalue().splitlines()
    assert "tokens/s" not in first, "the tokens before the resume were not read just now"
    assert "2,000 tokens/s" in second
    assert "15 s left" in second


def test_other_processes_say_nothing(clock):
    stream = io.StringIO()
    go(LiveLine(stream=stream), clock, first=False)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (7384, "2 h 3 min")],
)
def test_a_time_is_told_in_two_units(seconds, expected):
    assert duration(seconds) == expected


def test_memory_is_that_of_this_process():
    assert 2**20 < live._memory() < 2**40
