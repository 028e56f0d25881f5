"""Training arguments that choose an optimizer of ours, or how the work is shared out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from trl import SFTConfig

from ...errors import EnvironmentFault, UsageError
from ..launched import planned
from .deepspeed import check_filled, configuration, join_processes, take_zero_one
from .sharding import asks_for_fsdp

#: The name by which ``optim`` asks for 0/1 Adam.
ZERO_ONE_ADAM = "zero_one_adam"


@dataclass
class OptimizerSettings(SFTConfig):
    """SFTConfig whose ``optim`` may be ``zero_one_adam``, and whose ``deepspeed`` may be a name.

    Parameters:
        zero_one_var_freeze_step: the last step at which 0/1 Adam refreshes its variance; three
            quarters of the run when None.
        zero_one_var_update_scaler: after so many refreshments their interval doubles. The paper's
            16 is that of pre-training, whose runs are far longer.
        zero_one_local_step_scaler: after so many steps with a frozen variance the processes
            average half as often; a third of those steps when None.
        zero_one_local_step_clipper: the most steps between two averages.
        zero_one_bias_correction: whether to correct for the start at zero, as Adam does.
        zero_one_single_process: what to do with one process: ``refuse``, or take ``adamw``.
    """

    # transformers' type would have a command line refuse every name that is not its own
    optim: str = field(
        default="adamw_torch_fused",
        metadata={"help": "The optimizer: transformers' names, or zero_one_adam."},
    )
    zero_one_var_freeze_step: int | None = field(
        default=None,
        metadata={"help": "0/1 Adam: last step that refreshes the variance; default 3/4."},
    )
    zero_one_var_update_scaler: int = field(
        default=64, metadata={"help": "0/1 Adam: refreshments until their interval doubles."}
    )
    zero_one_local_step_scaler: int | None = field(
        default=None, metadata={"help": "0/1 Adam: frozen steps until averages are half as often."}
    )
    zero_one_local_step_clipper: int = field(
        default=4, metadata={"help": "0/1 Adam: the most steps between two averages."}
    )
    zero_one_bias_correction: bool = field(
        default=True, metadata={"help": "0/1 Adam: correct for the start at zero."}
    )
    zero_one_single_process: str = field(
        default="refuse", metadata={"help": "0/1 Adam on one process: refuse, or take adamw."}
    )

    def __post_init__(self) -> None:
        if self.zero_one_single_process not in ("refuse", "adamw"):
            raise UsageError(
                f"zero_one_single_process is '{self.zero_one_single_process}'.",
                fix="Use 'refuse' or 'adamw'.",
            )
        described = planned() is not None
        settings = configuration(self.deepspeed or _launched_with(), described=described)
        if settings is not None:
            if take_zero_one(settings, self):
                self.optim = ZERO_ONE_ADAM
            if not described:
                join_processes(settings, on_gpu=not self.use_cpu, timeout=self.ddp_timeout)
        # transformers would have DeepSpeed look for processes that are not there
        self.deepspeed: Any = None if described else settings
        ours = self.optim == ZERO_ONE_ADAM
        if ours:
            if settings is not None and "optimizer" in settings:
                raise UsageError(
                    f"optim is {ZERO_ONE_ADAM}, but the DeepSpeed configuration has an optimizer "
                    f"of its own, {settings['optimizer'].get('type')}.",
                    fix="Use deepspeed 'zero_one_adam_bf16', or leave optim out.",
                )
            self.optim = "adamw_torch"  # transformers knows no other names than its own
        super().__post_init__()
        if described:
            self.deepspeed = settings
        if ours:
            self.optim = ZERO_ONE_ADAM
        check_filled(self)
        if not described:
            _refuse_unsharded(self)


def _launched_with() -> str | None:
    """Return the DeepSpeed configuration file that ``accelerate launch`` was given, if any."""
    launched = planned()
    if launched is not None:
        return launched.deepspeed
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() != "true":
        return None
    file = os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    return None if file.lower() == "none" else file


def _refuse_unsharded(args: Any) -> None:
    """Refuse FSDP on a CPU, where accelerate takes DDP in its place without a word."""
    if args.use_cpu and asks_for_fsdp(args):
        raise EnvironmentFault(
            "The launcher asks for FSDP, but on a CPU accelerate would train with plain DDP, the "
            "whole model in every process.",
            fix="Use GPUs, or the profile cpu-ddp-2.",
        )
