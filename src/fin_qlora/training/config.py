"""SFTConfig with the defaults of this work."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import torch
from transformers import TrainingArguments
from trl import SFTConfig

from ..errors import MissingDependencyError, UnknownNameError, UsageError
from ..files import shipped


@dataclass
class FinSFTConfig(SFTConfig):
    """TRL's SFTConfig; what differs is said here.

    - Nothing is ever cut: a row longer than ``max_length`` is an error, not a shorter row.
    - Rows of like length share a batch, since financial texts run from one line to many pages.
    - Activations are kept, not recomputed: short rows need no checkpointing.
    - A machine without an accelerator trains on its processors without being told.
    - A process that sees several GPUs and was not launched with others uses the first.
    - ``deepspeed`` also takes the name of a configuration that ships with the package.
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
        if self.packing:
            self._check_packing()
        given: Any = self.deepspeed
        self.deepspeed: Any = _deepspeed_configuration(given)
        if not torch.accelerator.is_available():
            self.use_cpu = True
            self.dataloader_pin_memory = False
        if self.gradient_checkpointing is not None:
            self.activation_checkpointing, self.gradient_checkpointing = (
                self.gradient_checkpointing,
                None,
            )
        super().__post_init__()
        # more than one would mean torch's DataParallel, which TRL refuses
        self._n_gpu = min(self.n_gpu, 1)

    @classmethod
    def of(cls, args: TrainingArguments | None) -> Self:
        """Return ``args`` as a FinSFTConfig; a plain SFTConfig keeps every value that it has.

        Raises UsageError when ``args`` are no training arguments at all.
        """
        if args is None:
            return cls()
        if isinstance(args, cls):
            return args
        if not isinstance(args, TrainingArguments):
            raise UsageError(
                f"args is a {type(args).__name__}.", fix="Pass a FinSFTConfig or an SFTConfig."
            )
        return cls(**{one.name: getattr(args, one.name) for one in fields(args) if one.init})

    def _check_packing(self) -> None:
        if self.max_length is None:
            raise UsageError(
                "packing is on, but max_length is not set.",
                fix="Set max_length to the length of a packed sequence in tokens.",
            )
        if self.packing_strategy == "wrapped":
            raise UsageError(
                "packing_strategy 'wrapped' cuts rows in two.", fix="Use 'bfd', which keeps them."
            )


def _deepspeed_configuration(given: Any) -> Any:
    """Return the path of a configuration that ships with us, for its name; else ``given``.

    Raises:
        UnknownNameError: a name that no shipped configuration has, and no file either.
        MissingDependencyError: DeepSpeed is not installed.
    """
    if given is None:
        return None
    if isinstance(given, str) and not given.startswith("{") and not Path(given).is_file():
        folder = shipped("ds_configs")
        names = [file.stem for file in folder.glob("*.json")]
        if given not in names:
            raise UnknownNameError("DeepSpeed configuration", given, names)
        given = str(folder / f"{given}.json")
    if importlib.util.find_spec("deepspeed") is None:
        raise MissingDependencyError(
            "DeepSpeed is not installed.", fix="Install 'fin-qlora[deepspeed]', or train without."
        )
    return given
