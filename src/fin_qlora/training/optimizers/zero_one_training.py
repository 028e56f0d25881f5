"""0/1 Adam under transformers' Trainer: by DDP, or by DeepSpeed without ZeRO."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.nn.parallel import DistributedDataParallel
from transformers.training_args import OptimizerNames

from ...errors import MissingFileError, UsageError
from ...files import write_bytes
from .settings import ZERO_ONE_ADAM
from .sharding import asks_for_fsdp
from .zero_one_adam import LEAST_VARIANCE_UPDATES, ZeroOneAdam

if TYPE_CHECKING:
    from ..config import FinSFTConfig

#: Beside optimizer.pt in a checkpoint: what each process keeps to itself.
OWN_STATES = "zero_one_adam.pt"

_INSTEAD = "Use optim 'adamw_torch'."


@dataclass(frozen=True)
class Schedule:
    """When 0/1 Adam averages what, in steps; see ZeroOneAdam."""

    var_freeze_step: int
    var_update_scaler: int
    local_step_scaler: int
    local_step_clipper: int


def schedule(args: FinSFTConfig, total_steps: int) -> Schedule:
    """Return the schedule for a run of so many steps; what ``args`` leave open is derived.

    The variance is frozen after three quarters of the run. By then it is seldom refreshed, and what
    refreshing costs is little; frozen at the height of the learning rate it would cost a tenth of
    the final loss (measured on TFNS). The reference settings (step 1000) are for pre-training: most
    adapter runs end before that.
    """
    freeze = args.zero_one_var_freeze_step
    if freeze is None:
        freeze = max(3 * total_steps // 4, LEAST_VARIANCE_UPDATES)
    scaler = args.zero_one_local_step_scaler
    if scaler is None:
        scaler = max((total_steps - freeze) // 3, 1)
    return Schedule(
        var_freeze_step=freeze,
        var_update_scaler=args.zero_one_var_update_scaler,
        local_step_scaler=scaler,
        local_step_clipper=args.zero_one_local_step_clipper,
    )


def settle_optimizer(args: FinSFTConfig) -> None:
    """Refuse 0/1 Adam where it cannot work; on one process take AdamW instead if that was asked.

    Raises UsageError with the reason.
    """
    if args.optim != ZERO_ONE_ADAM:
        return
    configuration = getattr(args, "hf_deepspeed_config", None)
    stage = configuration.get_value("zero_optimization.stage", 0) if configuration else 0
    if stage:
        raise UsageError(
            f"0/1 Adam does not go with ZeRO stage {stage}: there a process has only a share of "
            "the optimizer's state, and the gradients are averaged before it sees them.",
            fix="Use deepspeed 'zero_one_adam_bf16', or optim 'adamw_torch'.",
        )
    if asks_for_fsdp(args):
        raise UsageError(
            "0/1 Adam does not go with FSDP, which averages gradients while it shares them out.",
            fix=_INSTEAD,
        )
    if args.fp16 and configuration is None:
        raise UsageError(
            "0/1 Adam does not go with fp16 under DDP: each process would leave out steps that "
            "overflow on its own, and the others would wait for it.",
            fix="Use bf16, or deepspeed 'zero_one_adam_fp16'.",
        )
    if args.world_size == 1:
        if args.zero_one_single_process != "adamw":
            raise UsageError(
                "0/1 Adam saves traffic between processes, and there is only one.",
                fix="Launch two or more, or set zero_one_single_process to 'adamw'.",
            )
        if configuration is not None and (args.bf16 or args.fp16):
            raise UsageError(
                "With one process 0/1 Adam is AdamW, for which DeepSpeed without ZeRO would step "
                "once on zero gradients before the first batch.",
                fix="Leave deepspeed out.",
            )
        args.optim = OptimizerNames.ADAMW_TORCH


class ZeroOneTraining:
    """What FinSFTTrainer does differently when ``optim`` is ``zero_one_adam``.

    Evaluations and checkpoints see the average of the processes' weights, and so does whoever
    trains to the end; none of them changes what is trained in between.
    """

    args: Any
    model_wrapped: Any
    optimizer: Any
    _own_states: list[torch.Tensor]

    @property
    def zero_one(self) -> ZeroOneAdam | None:
        """The optimizer, when it is 0/1 Adam."""
        inner = getattr(self, "optimizer", None)
        while inner is not None and not isinstance(inner, ZeroOneAdam):
            inner = getattr(inner, "optimizer", None)
        return inner

    def create_optimizer(self, model: Any = None) -> Any:
        """Create the optimizer that ``optim`` names."""
        if self.optimizer is not None or self.args.optim != ZERO_ONE_ADAM:
            return super().create_optimizer(model)  # type: ignore[misc]
        trained: Any = self
        plan = schedule(self.args, trained.state.max_steps or self.args.max_steps)
        model = trained.model if model is None else model
        decaying = set(trained.get_decay_parameter_names(model))
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        groups = [
            {
                "params": [p for n, p in named if n in decaying],
                "weight_decay": self.args.weight_decay,
            },
            {"params": [p for n, p in named if n not in decaying], "weight_decay": 0.0},
        ]
        self.optimizer = ZeroOneAdam(
            [group for group in groups if group["params"]],
            lr=self.args.learning_rate,
            betas=(self.args.adam_beta1, self.args.adam_beta2),
            eps=self.args.adam_epsilon,
            var_freeze_step=plan.var_freeze_step,
            var_update_scaler=plan.var_update_scaler,
            local_step_scaler=plan.local_step_scaler,
            local_step_clipper=plan.local_step_clipper,
            bias_correction=self.args.zero_one_bias_correction,
            max_grad_norm=self.args.max_grad_norm,
        )
        if trained.is_deepspeed_enabled:
            # DeepSpeed would shorten each process's gradient by that process's own norm
            trained.accelerator.state.deepspeed_plugin.deepspeed_config["gradient_clipping"] = 0.0
        return self.optimizer

    def _prepare_for_training(self, *args: Any, **options: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **options)  # type: ignore[misc]
        if self.zero_one is not None:
            leave_gradients_alone(self.model_wrapped, self.zero_one)
        return prepared

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        if self.zero_one is not None and checkpoint is not None:
            leave_gradients_alone(self.model_wrapped, self.zero_one)
            load_own_states(self.zero_one, Path(checkpoint))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
        if self.zero_one is not None and self.args.should_save:
            save_own_states(self.zero_one, Path(output_dir), own=self._own_states)

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        if self.zero_one is not None:
            # before any process writes: one whose disk is full must not leave the others waiting
            self.zero_one.force_sync()
            self._own_states = self.zero_one.own_states(keep=self.args.should_save)
        super()._save_checkpoint(*args, **options)  # type: ignore[misc]

    def _finalize_training(self, *args: Any, **options: Any) -> Any:
        if self.zero_one is not None:
            self.zero_one.force_sync()
        return super()._finalize_training(*args, **options)  # type: ignore[misc]

    def _clip_grad_norm(self, model: Any) -> Any:
        if self.zero_one is not None:
            return None  # it does that itself, by the norm of the average
        return super()._clip_grad_norm(model)  # type: ignore[misc]

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[misc]
        if self.zero_one is not None and norm is not None:
            return norm * self.zero_one.norm_ratio
        return norm

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Log, with the bytes that this process has sent until now."""
        if self.zero_one is not None and "loss" in logs:
            traffic = self.zero_one.traffic
            logs["zero_one/dense_bytes"] = traffic.dense_bytes
            logs["zero_one/one_bit_bytes"] = traffic.one_bit_bytes
        super().log(logs, *args, **options)  # type: ignore[misc]


def leave_gradients_alone(model: Any, optimizer: ZeroOneAdam) -> None:
    """Keep DDP or DeepSpeed from averaging gradients: the optimizer does what is to be averaged."""
    if isinstance(model, DistributedDataParallel):
        if "_gradients_left_alone" not in vars(model):
            model.register_comm_hook(None, noop_hook)
            vars(model)["_gradients_left_alone"] = True
        return
    model.enable_backward_allreduce = False
    wrapper = model.optimizer
    if wrapper is not optimizer:

        def write() -> None:
            """Bring DeepSpeed's float32 copies, which the optimizer writes, into the model."""
            for masters, shown in zip(wrapper.fp32_groups, wrapper.fp16_groups, strict=True):
                torch._foreach_copy_([p.data for p in shown], [p.data for p in masters])

        optimizer.after_write = write


def save_own_states(optimizer: ZeroOneAdam, folder: Path, *, own: list[torch.Tensor]) -> None:
    """Write ``own``, what each process keeps to itself, as ``own_states`` has gathered it.

    Trainer and DeepSpeed save the optimizer of the first process only.
    """
    stream = io.BytesIO()
    torch.save({"steps": optimizer.steps, "own": own}, stream)
    write_bytes(folder / OWN_STATES, stream.getvalue())


def load_own_states(optimizer: ZeroOneAdam, folder: Path) -> None:
    """Give this process back what it kept to itself.

    Raises MissingFileError when the checkpoint does not hold it, or that of another step.
    """
    if not optimizer.steps:
        return
    path = folder / OWN_STATES
    found = torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None
    if found is None or found["steps"] != optimizer.steps:
        raise MissingFileError(
            f"'{path}' is missing or of another step: it holds what each process of 0/1 Adam "
            "keeps to itself.",
            fix="Resume from another checkpoint.",
        )
    optimizer.load_own_state(found["own"][torch.distributed.get_rank()])
