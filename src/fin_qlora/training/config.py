"""SFTConfig with the defaults of this work."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from transformers import TrainingArguments

from ..errors import UsageError
from .batches.batch_size import accumulation_for
from .batches.several_tasks import parsed_weights
from .batches.shares import check_rule
from .launched import planned
from .optimizers.settings import OptimizerSettings


@dataclass
class FinSFTConfig(OptimizerSettings):
    """TRL's SFTConfig; what differs is said here.

    - Nothing is ever cut: a row longer than ``max_length`` is an error, not a shorter row.
    - Every row comes once an epoch, on one process, in an order that a resumed run goes on with:
      long rows with short ones, so that batches are alike in tokens, since financial texts run from
      one line to many pages; where batches are padded, rows of like length together.
    - Activations are kept, not recomputed: short rows need no checkpointing.
    - A machine without an accelerator trains on its processors without being told.
    - A process that sees several GPUs and was not launched with others uses the first.
    - ``deepspeed`` also takes the name of a configuration that ships with the package.
    - Batches are folded: no padding, and what rows begin with in common is computed once.
    - Nothing is reported anywhere unless ``report_to`` names it.

    Parameters:
        adapter_dtype: precision of the LoRA weights while they are trained, ``float32`` or
            ``bfloat16``. At small learning rates bfloat16 weights round updates away.
        abort_grad_norm: the run ends at a gradient whose norm, before clipping, is above this;
            at one that is not finite it always ends.
        task_sampling: how several tasks share an epoch, which has as many rows as the data set:
            ``proportional`` to their rows, each once; ``equal``; or ``temperature``, in between.
        task_sampling_temperature: T of the share ``rows ** (1 / T)``; 1 is proportional.
        task_weights: factor of the loss of each task; 1 for those that are not named.
        share_prefix: compute a batch as one sequence without padding in which what rows begin with
            in common is there once. It changes no loss and no gradient, but a LoRA dropout mask is
            drawn once for the tokens that rows share. Models that cannot are trained on padded
            batches.
        max_tokens_per_pass: a batch with more tokens runs in several passes, of at most so many
            tokens or one row; None for one pass. DeepSpeed and FSDP always make one.
        global_batch_size: rows of one step over all processes; what is accumulated follows.
    """

    learning_rate: float = field(default=1e-4, metadata={"help": "The paper's is 1e-4."})
    activation_checkpointing: bool | None = field(
        default=False, metadata={"help": "Recompute activations to save memory."}
    )
    gradient_checkpointing: bool | None = field(
        default=None, metadata={"help": "Former name of activation_checkpointing."}
    )
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": "How batches are drawn: group_by_length, random, sequential, ..."},
    )
    # HfArgumentParser takes the second member of a union, so the order matters
    report_to: None | str | list[str] = field(  # noqa: RUF036
        default="none", metadata={"help": "Trackers to report to; none unless named."}
    )
    save_strategy: str = field(
        default="no", metadata={"help": "When to write checkpoints: no, epoch or steps."}
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Hide losses that are no number from the log."}
    )
    abort_grad_norm: float | None = field(
        default=None,
        metadata={"help": "End the run at a gradient whose norm, before clipping, is above this."},
    )
    adapter_dtype: str = field(
        default="float32",
        metadata={"help": "Precision of the trained LoRA weights: float32 or bfloat16."},
    )
    task_sampling: str = field(
        default="proportional",
        metadata={"help": "Shares of the tasks: proportional, temperature or equal."},
    )
    task_sampling_temperature: float = field(
        default=2.0, metadata={"help": "T of the share rows ** (1 / T)."}
    )
    # a JSON object on the command line, so a string must come second in the union
    task_weights: dict[str, float] | str | None = field(
        default=None, metadata={"help": "Weights of the tasks' losses, a JSON object."}
    )
    share_prefix: bool = field(
        default=True,
        metadata={"help": "Compute what the rows of a batch begin with in common once."},
    )
    max_tokens_per_pass: int | None = field(
        default=2048,
        metadata={"help": "Tokens of one forward and backward pass; larger batches take several."},
    )
    global_batch_size: int | None = field(
        default=None,
        metadata={"help": "Rows of one step over all processes; accumulation follows from it."},
    )

    def __post_init__(self) -> None:
        if self.adapter_dtype not in ("float32", "bfloat16"):
            raise UsageError(
                f"adapter_dtype is '{self.adapter_dtype}'.", fix="Use 'float32' or 'bfloat16'."
            )
        if self.auto_find_batch_size and self.global_batch_size is not None:
            raise UsageError(
                "auto_find_batch_size would change the batches that global_batch_size fixes.",
                fix="Leave one of them out.",
            )
        if self.max_tokens_per_pass is not None and self.max_tokens_per_pass < 1:
            raise UsageError(
                f"max_tokens_per_pass is {self.max_tokens_per_pass}.",
                fix="Give a number of tokens, or leave it out.",
            )
        check_rule(self.task_sampling, temperature=self.task_sampling_temperature)
        self.task_weights = parsed_weights(self.task_weights) or None
        if self.packing:
            self._check_packing()
        if not torch.accelerator.is_available():
            self.use_cpu = True
            self.dataloader_pin_memory = False
        if self.gradient_checkpointing is not None:
            self.activation_checkpointing, self.gradient_checkpointing = (
                self.gradient_checkpointing,
                None,
            )
        if self.ddp_find_unused_parameters is None:
            # an adapter takes part in every step, whole
            self.ddp_find_unused_parameters: bool | None = False
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

    def _process_fsdp_args(self) -> Any:
        # the only step of __post_init__ that knows the number of processes and still comes before
        # DeepSpeed's configuration is filled in with the values of this one
        if self.global_batch_size is not None:
            given: int = self.gradient_accumulation_steps
            launched = planned()
            self.gradient_accumulation_steps: int = accumulation_for(
                self.global_batch_size,
                micro_batch=self.per_device_train_batch_size,
                processes=self.world_size if launched is None else launched.processes,
                given=given,
            )
        return super()._process_fsdp_args()

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
