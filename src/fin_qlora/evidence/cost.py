"""What a training run cost: time, memory and the size of what came out."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self


@dataclass
class CostMeter:
    """Measures a block: wall-clock seconds and peak memory in bytes.

    On a GPU the peak is what the allocator had reserved on this process's card; without one it is
    the process's largest resident set, which includes everything loaded before the block.
    """

    seconds: float = 0.0
    peak_memory_bytes: int = 0
    memory_kind: str = "resident set of the process"

    def __enter__(self) -> Self:
        torch = _torch_with_gpu()
        if torch is not None:
            torch.cuda.reset_peak_memory_stats()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        torch = _torch_with_gpu()
        if torch is not None:
            torch.cuda.synchronize()
            self.peak_memory_bytes = int(torch.cuda.max_memory_reserved())
            self.memory_kind = "GPU memory reserved by the allocator"
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.peak_memory_bytes = int(peak * (1 if sys.platform == "darwin" else 1024))
        self.seconds = time.perf_counter() - self._started

    def to_dict(self, *, gpus: int, adapter_bytes: int, trainable: int) -> dict[str, Any]:
        """Return the cost as JSON values; ``gpus`` is 0 for a run on processors."""
        return {
            "train_seconds": round(self.seconds, 3),
            "gpus": gpus,
            "gpu_hours": round(self.seconds * gpus / 3600, 6),
            "peak_memory_bytes": self.peak_memory_bytes,
            "memory_kind": self.memory_kind,
            "adapter_bytes": adapter_bytes,
            "trainable_parameters": trainable,
        }


def _torch_with_gpu() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None
