"""What an evaluation cost, on all processes of a launch."""

from __future__ import annotations

import math
from typing import Any

import torch

from ..evidence.cost import ProcessMeter, RunCost
from .evaluation import Evaluation


def evaluation_cost(
    found: Evaluation, meter: ProcessMeter, *, adapter_bytes: int | None
) -> dict[str, Any]:
    """Return time, memory and GPU hours as JSON values; all processes of a launch must call.

    ``asking_seconds`` is the sum over the rows of their shares of their batches' seconds, those
    of an earlier start included: a row is asked on one process. ``seconds`` is wall-clock of this
    start alone, loading of the model not included.

    Args:
        meter: begun before the first row was asked.
        adapter_bytes: size of the adapter's weights, None for a base.
    """
    launched = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    mine = meter.cost(rank=torch.distributed.get_rank() if launched else 0)
    parts = [mine]
    if launched:
        parts = [mine] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, mine)
    cost = RunCost.of(parts, seconds=meter.seconds, trained_tokens=0, seen_tokens=0)
    whole = cost.to_dict(adapter_bytes=adapter_bytes or 0, trainable=0)
    asking = math.fsum(row["seconds"] for row in found.rows)
    return {
        "seconds": round(cost.seconds, 3),
        "asking_seconds": round(asking, 3),
        "rows_per_second": round(len(found.rows) / asking, 3) if asking else None,
        "processes": len(parts),
        "gpus": cost.gpus,
        "gpu_hours": round(asking / 3600, 6) if cost.gpus else 0.0,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "memory_kind": whole["memory_kind"],
        "adapter_bytes": adapter_bytes,
    }
