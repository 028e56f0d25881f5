"""One line that says how a training goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import psutil
import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback

#: Seconds between two looks of a terminal's line.
_OFTEN = 0.2


class LiveLine(TrainerCallback):
    """Says step, loss, tokens per second, memory, time left and rows cut, on the first process.

    On a terminal it is one line that is written over; elsewhere a line each time that is logged.

    Args:
        cut: training rows that were shortened to fit.
        stream: where to write; stderr unless named.
    """

    def __init__(self, *, cut: int = 0, stream: TextIO | None = None) -> None:
        self._cut = cut
        self._stream = stream or sys.stderr
        self._logs: dict[str, Any] = {}
        self._speed: float | None = None
        self._width = 0
        self._said = 0.0

    def instead_of_others(self, trainer: Trainer) -> None:
        """Take the place of transformers' own bar and printed dictionaries."""
        for other in (ProgressCallback, PrinterCallback):
            trainer.remove_callback(other)
        trainer.add_callback(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self._begun = self._before = time.monotonic()
        self._first = state.global_step
        # a resumed run has read tokens before, as many as its first log tells
        self._tokens: int | None = None if self._first else 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Bring a terminal's line up to date."""
        now = time.monotonic()
        if self._stream.isatty() and now - self._said >= _OFTEN:
            self._said = now
            self._say(state)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any
    ) -> None:
        """Take over what is logged, and say it."""
        if not logs or "loss" not in logs:
            return
        now = time.monotonic()
        tokens = logs.get("num_tokens")
        if tokens is not None and self._tokens is not None and now > self._before:
            self._speed = (tokens - self._tokens) / (now - self._before)
        self._tokens, self._before = tokens, now
        self._logs = dict(logs)
        self._say(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave the terminal's line as it is."""
        if self._width:
            self._stream.write("\n")
            self._width = 0

    def _say(self, state: Any) -> None:
        if not state.is_world_process_zero:
            return
        line = self.line(state.global_step, state.max_steps)
        if self._stream.isatty():
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def line(self, step: int, steps: int) -> str:
        """Return the line for a step."""
        parts = [f"step {step}/{steps}"]
        if "loss" in self._logs:
            parts.append(f"loss {self._logs['loss']:.4f}")
        parts += [
            f"{name.removeprefix('loss/')} {value:.4f}"
            for name, value in self._logs.items()
            if name.startswith("loss/")
        ]
        if self._speed is not None:
            parts.append(f"{self._speed:,.0f} tokens/s")
        parts.append(f"{_memory() / 2**30:.1f} GiB")
        done = step - self._first
        if done > 0 and step < steps:
            left = (time.monotonic() - self._begun) / done * (steps - step)
            parts.append(f"{duration(left)} left")
        if self._cut:
            parts.append(f"{self._cut} rows cut")
        return "· " + " · ".join(parts)


def duration(seconds: float) -> str:
    """Return a time as a person reads it: two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _memory() -> int:
    """Return the bytes in use now: reserved on this process's GPU, else the resident set."""
    if torch.cuda.is_available():
        return int(torch.cuda.memory_reserved())
    return int(psutil.Process().memory_info().rss)
