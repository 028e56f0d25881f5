"""How many processes a run has and what they share out, told before any of them is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Launched:
    """What a launcher would tell a run.

    Attributes:
        deepspeed: name or path of the DeepSpeed configuration that it gives; None for none.
        fsdp: whether the processes share out the model by FSDP.
    """

    processes: int = 1
    deepspeed: str | None = None
    fsdp: bool = False


_PLANNED: ContextVar[Launched | None] = ContextVar("planned", default=None)


def planned() -> Launched | None:
    """Return how the run is going to be launched; None where this process is one of it."""
    return _PLANNED.get()


@contextmanager
def planning(launched: Launched | None) -> Iterator[None]:
    """Read settings as such a run would, without its processes; None changes nothing.

    What is made inside describes a run and cannot train: DeepSpeed is not set up.
    """
    token = _PLANNED.set(launched)
    try:
        yield
    finally:
        _PLANNED.reset(token)
