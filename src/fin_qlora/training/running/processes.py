"""The processes of a launch: whether they found one another, agree, live, and the cores of each."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import EnvironmentFault, ProcessLostError
from ...evidence.environment import cores, threads_asked

if TYPE_CHECKING:
    import torch

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

#: Set by ``accelerate launch`` for every process that it starts.
_LAUNCHED = "ACCELERATE_MIXED_PRECISION"


def check_world(found: int) -> None:
    """Refuse to train when the launcher started more processes than found one another.

    Each would train alone on all rows and write the same folder: on a machine without a GPU that
    happens when the processes are not told to use the CPU.

    Args:
        found: the world size that the trainer has.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != found:
        raise EnvironmentFault(
            f"The launcher started {started} processes, but each sees a world of {found}.",
            fix="Set use_cpu to true, or launch with a profile of `fin-qlora recipes ls`.",
        )


def use_cores(threads: int = 0) -> None:
    """Compute with ``threads`` threads, or when 0 as many as asked for, or a share of the cores.

    OMP_NUM_THREADS is obeyed, except for the 1 that ``accelerate launch`` sets by itself: it would
    leave most of a machine without a GPU idle. Does nothing where there is a GPU.
    """
    import torch

    if torch.accelerator.is_available():
        return
    torch.set_num_threads(threads if threads > 0 else _threads())


def _threads() -> int:
    share = max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    asked = threads_asked()
    if _LAUNCHED not in os.environ:
        return asked or share
    # the launcher also puts a number of its own there, which counts cores that are not ours
    return min(asked, share) if asked > 1 else share


def on_any_process(flags: torch.Tensor) -> list[bool]:
    """Return for each flag whether it is set on any process: all of them decide alike.

    Args:
        flags: booleans of shape (flags,), on the device of the process.
    """
    import torch

    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        flags = flags.to(torch.int32)
        torch.distributed.all_reduce(flags, torch.distributed.ReduceOp.MAX)
    return [bool(flag) for flag in flags.tolist()]


@dataclass(frozen=True)
class Peers:
    """The processes of a run by rank: on which machine each is, and under which number."""

    places: tuple[tuple[str, int], ...]

    @classmethod
    def of_this_run(cls) -> Peers:
        """Ask all processes where they are; each of them must."""
        from accelerate.utils import gather_object

        found = gather_object([(platform.node(), os.getpid())])
        return cls(tuple((machine, number) for machine, number in found))

    def ended(self) -> list[int]:
        """Return the ranks of this machine that have ended."""
        here = platform.node()
        return [
            rank
            for rank, (machine, number) in enumerate(self.places)
            if machine == here and not _lives(number)
        ]

    @contextlib.contextmanager
    def lost_is_an_error(self, *, timeout: float) -> Iterator[None]:
        """Turn a broken connection to another process into a ProcessLostError that names it.

        Args:
            timeout: seconds that a process waits for the others, as the sentence tells them.
        """
        try:
            yield
        except Exception as error:
            if len(self.places) == 1 or not _tells_of_a_lost_process(error):
                raise
            raise ProcessLostError(
                self._what_happened(error, timeout),
                fix="Look for its own last words above, and for the system's log when it was "
                "killed for want of memory; then go on with --resume_from_checkpoint true.",
            ) from error

    def _what_happened(self, error: Exception, timeout: float) -> str:
        ended = self._ended_by_now()
        if ended:
            named = ", ".join(f"{rank} (process {self.places[rank][1]})" for rank in ended)
            return f"Rank {named} of {len(self.places)} has ended in the middle of the run."
        if "timed out" in str(error).lower() or "timeout" in str(error).lower():
            return f"Another process has not answered for {timeout:.0f} seconds (ddp_timeout)."
        return "The connection to another process of the run is broken."

    def _ended_by_now(self) -> list[int]:
        """Return the ranks that have ended; the connection breaks a moment before one has."""
        until = time.monotonic() + _MOMENT
        while not (ended := self.ended()) and time.monotonic() < until:
            time.sleep(0.05)
        return ended


def _tells_of_a_lost_process(error: Exception) -> bool:
    import torch

    if isinstance(error, torch.distributed.DistBackendError | torch.distributed.DistNetworkError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _GONE)


def _lives(number: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
