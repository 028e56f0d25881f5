"""What a training run cost: time, memory, tokens and energy, on each process and in all."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from .energy import gpu_energy_joules

_RESIDENT = "resident set"
_RESERVED = "GPU memory reserved by the allocator"


@dataclass(frozen=True, kw_only=True)
class ProcessCost:
    """What one process used; memory in bytes at its highest, None where there is no GPU.

    ``resident`` is the process's resident set and includes everything that was loaded before
    training; ``allocated`` and ``reserved`` are those of torch's allocator on the process's GPU;
    ``device`` is all that was in use on that GPU, by whomever, looked at now and then.
    """

    rank: int
    resident_peak_bytes: int
    allocated_peak_bytes: int | None = None
    reserved_peak_bytes: int | None = None
    device_peak_bytes: int | None = None
    energy_joules: float | None = None

    def and_before(self, earlier: ProcessCost | None) -> ProcessCost:
        """Return the cost of two parts of a run: the higher peaks, the sum of the energy."""
        if earlier is None:
            return self
        return ProcessCost(
            rank=self.rank,
            resident_peak_bytes=max(self.resident_peak_bytes, earlier.resident_peak_bytes),
            allocated_peak_bytes=_max(self.allocated_peak_bytes, earlier.allocated_peak_bytes),
            reserved_peak_bytes=_max(self.reserved_peak_bytes, earlier.reserved_peak_bytes),
            device_peak_bytes=_max(self.device_peak_bytes, earlier.device_peak_bytes),
            energy_joules=_sum([self.energy_joules, earlier.energy_joules]),
        )


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run used on all of its processes, with all parts of it where it was resumed.

    ``trained_tokens`` are those of the answers, ``seen_tokens`` all that were read;
    ``known_from_the_start`` is False where an earlier part did not tell its cost.
    """

    seconds: float
    gpu_seconds: float
    gpus: int
    trained_tokens: int
    seen_tokens: int
    processes: tuple[ProcessCost, ...]
    known_from_the_start: bool = True

    @classmethod
    def of(
        cls,
        processes: Sequence[ProcessCost],
        *,
        seconds: float,
        trained_tokens: int,
        seen_tokens: int,
    ) -> Self:
        """Return the cost of one part of a run, from those of its processes."""
        gpus = sum(one.reserved_peak_bytes is not None for one in processes)
        return cls(
            seconds=seconds,
            gpu_seconds=seconds * gpus,
            gpus=gpus,
            trained_tokens=trained_tokens,
            seen_tokens=seen_tokens,
            processes=tuple(processes),
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the cost that ``as_json`` gave."""
        processes = tuple(ProcessCost(**one) for one in value["processes"])
        return cls(**{**value, "processes": processes})

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values that ``from_json`` reads."""
        return asdict(self) | {"processes": [asdict(one) for one in self.processes]}

    def and_before(self, earlier: RunCost | None) -> RunCost:
        """Return the cost of this part of a run and of the one that it was resumed from.

        None says that the earlier part did not tell.
        """
        if earlier is None:
            return RunCost(**{**vars(self), "known_from_the_start": False})
        before = {one.rank: one for one in earlier.processes}
        mine = [one.and_before(before.pop(one.rank, None)) for one in self.processes]
        return RunCost(
            seconds=self.seconds + earlier.seconds,
            gpu_seconds=self.gpu_seconds + earlier.gpu_seconds,
            gpus=max(self.gpus, earlier.gpus),
            trained_tokens=self.trained_tokens + earlier.trained_tokens,
            seen_tokens=self.seen_tokens + earlier.seen_tokens,
            processes=(*mine, *before.values()),
            known_from_the_start=self.known_from_the_start and earlier.known_from_the_start,
        )

    @property
    def peak_memory_bytes(self) -> int:
        """The peaks of all processes in all: reserved on their GPUs, else resident."""
        return sum(
            one.resident_peak_bytes if one.reserved_peak_bytes is None else one.reserved_peak_bytes
            for one in self.processes
        )

    @property
    def energy_joules(self) -> float | None:
        """What all GPUs used; None where one of them did not tell."""
        told = [one.energy_joules for one in self.processes]
        return None if None in told else _sum(told)

    def to_dict(self, *, adapter_bytes: int, trainable: int) -> dict[str, Any]:
        """Return the ``cost`` of a manifest as JSON values."""
        energy = self.energy_joules
        count = len(self.processes)
        return {
            "train_seconds": round(self.seconds, 3),
            "gpus": self.gpus,
            "gpu_hours": round(self.gpu_seconds / 3600, 6),
            "peak_memory_bytes": self.peak_memory_bytes,
            "memory_kind": (_RESERVED if self.gpus else _RESIDENT)
            + (f", added up over {count} processes" if count > 1 else ""),
            "trained_tokens": self.trained_tokens,
            "seen_tokens": self.seen_tokens,
            "energy_joules": None if energy is None else round(energy, 1),
            "processes": [asdict(one) for one in self.processes],
            "adapter_bytes": adapter_bytes,
            "trainable_parameters": trainable,
        }


#: Of a run that has not begun.
NOTHING = RunCost.of([], seconds=0.0, trained_tokens=0, seen_tokens=0)


class ProcessMeter:
    """Measures this process from its construction on."""

    def __init__(self) -> None:
        self._gpu = _torch_with_gpu()
        self._device_peak = 0
        if self._gpu is not None:
            self._gpu.cuda.reset_peak_memory_stats()
        self._energy = self._energy_now()
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since it was made."""
        return time.perf_counter() - self._begun

    def look(self) -> None:
        """Look at how much of the GPU is in use by all programs; costs some microseconds."""
        if self._gpu is not None:
            free, total = self._gpu.cuda.mem_get_info()
            self._device_peak = max(self._device_peak, total - free)

    def cost(self, *, rank: int) -> ProcessCost:
        """Return what was used until now."""
        # Linux counts in KiB, macOS in bytes
        unit = 1 if sys.platform == "darwin" else 1024
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        if self._gpu is None:
            return ProcessCost(rank=rank, resident_peak_bytes=resident)
        self._gpu.cuda.synchronize()
        self.look()
        now = self._energy_now()
        return ProcessCost(
            rank=rank,
            resident_peak_bytes=resident,
            allocated_peak_bytes=int(self._gpu.cuda.max_memory_allocated()),
            reserved_peak_bytes=int(self._gpu.cuda.max_memory_reserved()),
            device_peak_bytes=self._device_peak,
            energy_joules=None if now is None or self._energy is None else now - self._energy,
        )

    def _energy_now(self) -> float | None:
        if self._gpu is None:
            return None
        properties = self._gpu.cuda.get_device_properties(self._gpu.cuda.current_device())
        return gpu_energy_joules(str(properties.uuid))


def _max(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _sum(values: Sequence[float | None]) -> float | None:
    return None if None in values else sum(value for value in values if value is not None)


def _torch_with_gpu() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None
