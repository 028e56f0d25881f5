"""What the processes of a run share out among themselves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..config import FinSFTConfig


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """What the processes share out, by DeepSpeed's stages; 0 is plain data parallelism.

    FSDP shares out all that stage 3 does. ``masters`` says that trained numbers are bfloat16 with a
    float32 copy in the optimizer.
    """

    stage: int
    masters: bool
    name: str

    @property
    def shares_base(self) -> bool:
        """Whether no process holds the whole base."""
        return self.stage >= 3

    @classmethod
    def of(cls, training: FinSFTConfig, *, fsdp: bool = False) -> Sharding:
        """Return what DeepSpeed's or FSDP's settings share out; ``fsdp`` is what a profile says."""
        given: Any = training.deepspeed
        if isinstance(given, dict):
            stage = int(given.get("zero_optimization", {}).get("stage", 0))
            return cls(stage=stage, masters=True, name=f"DeepSpeed stage {stage}")
        if fsdp or asks_for_fsdp(training):
            return cls(stage=3, masters=False, name="FSDP")
        return cls(stage=0, masters=False, name="DDP")


def asks_for_fsdp(training: FinSFTConfig) -> bool:
    """Return whether the settings or the launcher ask for FSDP."""
    launched = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    return bool(training.fsdp) or launched
