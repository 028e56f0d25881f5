"""SFTConfig with the defaults of this work."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from trl import SFTConfig

from ..errors import UsageError


@dataclass
class FinSFTConfig(SFTConfig):
    """TRL's SFTConfig; what differs is said here.

    - Nothing is ever cut: a row longer than ``max_length`` is an error, not a shorter row.
    - Rows of like length share a batch, since financial texts run from one line to many pages.
    - Activations are kept, not recomputed: short rows need no checkpointing.
    - A machine without an accelerator trains on its processors without being told.
    - Nothing is reported anywhere unless ``report_to`` names it.

    Parameters:
        adapter_dtype: precision of the LoRA weights while they are trained, ``float32`` or
            ``bfloat16``. At small learning rates bfloat16 weights round updates away.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "The paper's is 1e-4."})
    activation_checkpointing: bool | None = field(
        default=False, metadata={"help": "Recompute activations to save memory."}
    )
    gradient_checkpointing: bool | None = field(
        default=None, metadata={"help": "Former name of activation_checkpointing."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length", metadata={"help": "How batches are drawn."}
    )
    # HfArgumentParser takes the second member of a union, so the order matters
    report_to: None | str | list[str] = field(  # noqa: RUF036
        default="none", metadata={"help": "Trackers to report to; none unless named."}
    )
    save_strategy: str = field(
        default="no", metadata={"help": "When to write checkpoints: no, epoch or steps."}
    )
    adapter_dtype: str = field(
        default="float32",
        metadata={"help": "Precision of the trained LoRA weights: float32 or bfloat16."},
    )

    def __post_init__(self) -> None:
        if self.adapter_dtype not in ("float32", "bfloat16"):
            raise UsageError(
                f"adapter_dtype is '{self.adapter_dtype}'.", fix="Use 'float32' or 'bfloat16'."
            )
        if not torch.accelerator.is_available():
            self.use_cpu = True
            self.dataloader_pin_memory = False
        if self.gradient_checkpointing is not None:
            self.activation_checkpointing, self.gradient_checkpointing = (
                self.gradient_checkpointing,
                None,
            )
        super().__post_init__()
