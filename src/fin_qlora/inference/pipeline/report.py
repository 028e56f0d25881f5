"""What the stages of a model took: memory, time, and how long they stood idle."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ...models.stage import Span
from .splitting import named
from .stage import Stage


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What one stage took.

    Attributes:
        span: its layers.
        planned_bytes: of its weights, by the arithmetic that chose the cut.
        weight_bytes: of its weights as they lie in memory, scales and tables included.
        adapter_bytes: of the adapter's.
        host_peak_bytes: most memory that its process had resident, since it began.
        device_peak_bytes: most that PyTorch gave out on its GPU, or None on a processor.
        busy_seconds: of computing, since the last report.
        seconds: of calls since then, waiting for other stages included.
    """

    span: Span
    planned_bytes: int
    weight_bytes: int
    adapter_bytes: int
    host_peak_bytes: int
    device_peak_bytes: int | None
    busy_seconds: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PipelineReport:
    """What all stages took, in their order."""

    stages: tuple[StageReport, ...]
    micro_batches: int

    @property
    def bubble(self) -> float | None:
        """Return the share of their time that stages waited, or None before anything was asked."""
        seconds = max(stage.seconds for stage in self.stages)
        if not seconds:
            return None
        busy = sum(stage.busy_seconds for stage in self.stages) / len(self.stages)
        return max(0.0, 1 - busy / seconds)

    @property
    def largest_share(self) -> float:
        """Return the weights of the largest stage as a share of all."""
        sizes = [stage.weight_bytes for stage in self.stages]
        return max(sizes) / sum(sizes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "micro_batches": self.micro_batches,
            "bubble": self.bubble,
            "largest_share": self.largest_share,
        }

    def lines(self) -> list[str]:
        """Return what is to be told to people, one line a stage and one on the time."""
        told = [
            f"stage {number}: {named(stage.span)}; weights {_gib(stage.weight_bytes)}, process "
            f"{_gib(stage.host_peak_bytes)}"
            + (f", GPU {_gib(stage.device_peak_bytes)}" if stage.device_peak_bytes else "")
            + (f"; busy {stage.busy_seconds / stage.seconds:.0%}" if stage.seconds else "")
            for number, stage in enumerate(self.stages)
        ]
        if self.bubble is not None:
            told.append(
                f"{len(self.stages)} stages, micro-batches of a batch: {self.micro_batches}; "
                f"idle for {self.bubble:.0%} of the time"
            )
        return told


def stage_report(stage: Stage, *, planned: int) -> StageReport:
    """Return what this process's stage took so far."""
    on_gpu = stage.device.type == "cuda"
    adapter = sum(p.nbytes for name, p in stage.model.named_parameters() if "lora_" in name)
    return StageReport(
        span=stage.span,
        planned_bytes=planned,
        weight_bytes=weight_bytes(stage.model) - adapter,
        adapter_bytes=adapter,
        host_peak_bytes=_host_peak(),
        device_peak_bytes=torch.cuda.max_memory_allocated(stage.device) if on_gpu else None,
        busy_seconds=stage.clock.busy(),
        seconds=stage.clock.seconds,
    )


def weight_bytes(model: Any) -> int:
    """Return the bytes of a model's weights, with the scales and tables of quantised ones."""
    total = 0
    for parameter in model.parameters():
        total += parameter.nbytes
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            total += sum(one.nbytes for one in _tensors(state))
        scales = getattr(parameter, "SCB", None)
        if scales is not None:
            total += scales.nbytes
    return total


def _tensors(state: Any) -> list[torch.Tensor]:
    """Return the scales of a 4-bit weight, those of its scales, and the tables of both."""
    parts = [state.absmax, state.code]
    if state.nested:
        parts += [state.offset, state.state2.absmax, state.state2.code]
    return parts


def _host_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"
