"""The other processes of a launch: where they are, and who of them has gone."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import ProcessLostError

#: What gloo, NCCL and torch's own store say when another process has gone or does not answer.
_GONE = (
    "connection closed by peer",
    "connection reset by peer",
    "connection refused",
    "broken pipe",
    "remote process exited",
    "socket timeout",
    "timed out waiting",
    "wait timeout",
    "watchdog",
    "connection was likely closed",
    "recvbytes",
    "sendbytes",
)

#: Seconds that the system may take to end a process whose connections are closed.
_MOMENT = 2.0


@dataclass(frozen=True)
class Peers:
    """The processes of a run by rank: on which machine each is, and under which number."""

    places: tuple[tuple[str, int], ...]

    @classmethod
    def of_this_run(cls) -> Peers:
        """Ask all processes where they are; each of them must."""
        from torch import distributed

        here = (platform.node(), os.getpid())
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls((here,))
        found: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(found, here)
        return cls(tuple(found))

    def ended(self) -> list[int]:
        """Return the ranks of this machine that have ended."""
        here = platform.node()
        return [
            rank
            for rank, (machine, number) in enumerate(self.places)
            if machine == here and not _lives(number)
        ]

    @contextlib.contextmanager
    def lost_is_an_error(self, *, timeout: float, fix: str) -> Iterator[None]:
        """Turn a broken connection to another process into a ProcessLostError that names it.

        Args:
            timeout: seconds that a process waits for the others, as the sentence tells them.
            fix: what to do then.
        """
        try:
            yield
        except Exception as error:
            if len(self.places) == 1 or not _tells_of_a_lost_process(error):
                raise
            raise ProcessLostError(self._what_happened(error, timeout), fix=fix) from error

    def _what_happened(self, error: Exception, timeout: float) -> str:
        ended = self._ended_by_now()
        if ended:
            named = ", ".join(f"{rank} (process {self.places[rank][1]})" for rank in ended)
            return f"Rank {named} of {len(self.places)} has ended in the middle of the run."
        if any("timed out" in said or "timeout" in said for said in _said(error)):
            return f"Another process has not answered for {timeout:.0f} seconds."
        return "The connection to another process of the run is broken."

    def _ended_by_now(self) -> list[int]:
        """Return the ranks that have ended; the connection breaks a moment before one has."""
        until = time.monotonic() + _MOMENT
        while not (ended := self.ended()) and time.monotonic() < until:
            time.sleep(0.05)
        return ended


def _tells_of_a_lost_process(error: Exception) -> bool:
    import torch

    kinds = torch.distributed.DistBackendError | torch.distributed.DistNetworkError
    if isinstance(error, kinds):
        return True
    return isinstance(error, RuntimeError) and any(
        words in said for said in _said(error) for words in _GONE
    )


def _said(error: BaseException) -> list[str]:
    """Return what an error and those that it came from say, in small letters."""
    said = []
    link: BaseException | None = error
    while link is not None:
        said.append(str(link).lower())
        link = link.__cause__
    return said


def _lives(number: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
