"""What can go wrong while a training runs, each found at its step and said in one sentence."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ...errors import DataError, DivergedError, MemoryShortError, UntrainedAdapterError
from ...prompts.contract import IGNORED
from .processes import on_any_process

if TYPE_CHECKING:
    from ..trainer import FinSFTTrainer

#: Steps with a learning rate above zero after which an adapter must have changed.
ENOUGH_STEPS = 20

_INTACT = "Checkpoints before this step are as they were."


class StepWatch:
    """Looks at every step before the optimizer takes it; all processes find the same.

    DeepSpeed takes a step within the backward pass: there it is looked at just afterwards, before
    anything of it is saved.
    """

    def __init__(self, trainer: FinSFTTrainer) -> None:
        self._trainer = trainer
        self._norms: deque[float] = deque(maxlen=10)
        self._empty: torch.Tensor | None = None
        self._shape = (0, 0)
        self._weights: dict[str, float] = {}
        self._blank = False
        self._steps = 0
        #: Set on one process to stop all of them after the step at hand.
        self.stop_wanted = False
        #: Whether a process wanted to stop when the step at hand was looked at.
        self.stopping = False

    def begin(self) -> None:
        """Remember what the trained weights are before the first step."""
        self._norms.clear()
        self._steps = 0
        self.stopping = False
        self._weights = _fingerprints(self._trainer.model)
        self._blank = not any(self._weights.values())

    def batches(self, batches: Sequence[Any]) -> torch.Tensor | None:
        """Look at the micro-batches of a step; return how many of their tokens are trained."""
        labels = [batch["labels"] for batch in batches if _has_labels(batch)]
        self._empty = None
        if not labels:
            return None
        trained = torch.stack([one[..., 1:].ne(IGNORED).sum() for one in labels])
        self._empty = trained.eq(0).any()
        self._shape = max((tuple(one.shape) for one in labels), key=math.prod)
        return trained.sum()

    def check(self, norm: Any) -> None:
        """Look at the loss and at the gradient's norm before clipping.

        Raises:
            DataError: a micro-batch had nothing to train on.
            DivergedError: loss or norm are not finite, or the norm is above ``abort_grad_norm``.
        """
        trainer = self._trainer
        loss = trainer._tr_loss
        size = _as_tensor(norm, loss.device)
        limit = trainer.args.abort_grad_norm
        # with float16 the scaler skips steps that overflow, and lowers its factor
        overflows = ~size.isfinite() & trainer.args.fp16
        flags = [
            self._empty if self._empty is not None else torch.zeros_like(loss, dtype=torch.bool),
            ~loss.isfinite(),
            ~size.isfinite() & ~overflows,
            (size > (math.inf if limit is None else limit)) & ~overflows,
            torch.full_like(size, self.stop_wanted, dtype=torch.bool),
        ]
        flat = torch.stack([flag.to(loss.device).reshape(()) for flag in flags])
        empty, no_loss, no_norm, steep, self.stopping = on_any_process(flat)
        step = trainer.state.global_step + 1
        if empty:
            raise DataError(
                f"A batch of step {step} has no trained token: all of its labels are {IGNORED}.",
                fix="Every row needs an answer; look at the data collator. " + _INTACT,
            )
        if no_loss:
            raise self._diverged(f"The loss of step {step} is {float(loss)}.", norm=size)
        if no_norm:
            raise self._diverged(f"The gradient of step {step} has no finite norm.", norm=size)
        if steep:
            raise self._diverged(
                f"The gradient of step {step} has a norm above abort_grad_norm={limit:g}.",
                norm=size,
            )
        self._norms.append(float(size))

    def changed(self, *, optimizer: Any, last: bool) -> None:
        """Look after a step whether training changes the adapter at all.

        Raises UntrainedAdapterError after the last step, when every B matrix is as zero as it was,
        and after ``ENOUGH_STEPS``, when no B matrix has changed.
        """
        self._steps += any(group["lr"] > 0 for group in optimizer.param_groups)
        if not (self._steps == ENOUGH_STEPS or (last and self._blank)) or not self._weights:
            return
        if _fingerprints(self._trainer.model) == self._weights:
            raise UntrainedAdapterError(
                f"After step {self._trainer.state.global_step} no trained weight has changed: the "
                "adapter would do nothing.",
                fix=f"learning_rate is {self._trainer.args.learning_rate:g}, warmup_steps "
                f"{self._trainer.args.warmup_steps:g}; raise the one or lower the other. Nothing "
                "was written.",
            )

    @contextlib.contextmanager
    def memory_is_an_error(self) -> Iterator[None]:
        """Turn "out of memory" into a sentence with a batch that is half as large."""
        try:
            yield
        except Exception as error:
            if not _tells_of_short_memory(error):
                raise
            args = self._trainer.args
            rows, tokens = self._shape
            place = "GPU memory" if args.device.type == "cuda" else "memory"
            raise MemoryShortError(
                f"Step {self._trainer.state.global_step + 1} does not fit into the {place} of "
                f"process {args.process_index}: {rows} rows of {tokens} tokens in a batch.",
                fix=smaller_batch(
                    rows,
                    tokens,
                    accumulation=args.gradient_accumulation_steps,
                    processes=args.world_size,
                    limit=args.max_tokens_per_pass if self._trainer._may_split else None,
                    recomputed=bool(args.activation_checkpointing),
                ),
            ) from error

    def _diverged(self, what: str, *, norm: torch.Tensor) -> DivergedError:
        usual = sorted(self._norms)[len(self._norms) // 2] if self._norms else None
        rate = self._trainer._get_learning_rate()
        if usual is None:
            why = (
                "It is the first step: the base or a row is not sound, or the learning rate is too "
                "high."
            )
        elif self._norms[-1] > 10 * usual or float(norm) > 10 * usual:
            why = (
                f"The gradient's norm was {usual:.3g} and grew to "
                f"{max(self._norms[-1], _finite(norm)):.3g}: the learning rate of {rate:.3g} is "
                "too high."
            )
        else:
            why = (
                f"The gradient's norm was {self._norms[-1]:.3g} at the step before: a row of this "
                f"step is not sound, or the learning rate of {rate:.3g} is too high."
            )
        return DivergedError(f"{what} {why}", fix=f"Lower learning_rate. {_INTACT}")


def smaller_batch(
    rows: int,
    tokens: int,
    *,
    accumulation: int,
    processes: int,
    limit: int | None,
    recomputed: bool,
) -> str:
    """Return which settings train the same global batch in at most half the memory.

    Args:
        rows: of the micro-batch that was too much.
        tokens: of its longest row.
        accumulation: micro-batches of one process in a step.
        processes: of the run.
        limit: tokens that run at once, where a micro-batch is split by it.
        recomputed: whether activations are recomputed already.
    """
    if limit is not None and rows * tokens > limit > tokens:
        return (
            f"Set max_tokens_per_pass to {max(limit // 2, tokens)}: the same batch, and the same "
            "gradient, in more passes."
        )
    for fewer in range(rows // 2, 0, -1):
        if (rows * accumulation) % fewer == 0 and (limit is None or rows * tokens <= limit):
            return (
                f"Set per_device_train_batch_size to {fewer} and gradient_accumulation_steps to "
                f"{rows * accumulation // fewer}: the same global batch of "
                f"{rows * accumulation * processes} rows in pieces of half the memory or less."
            )
    if not recomputed:
        return "One row alone is too much; set activation_checkpointing to true."
    return "One row alone is too much; load the base in 4 bits or shorten the rows (max_length)."


def _has_labels(batch: Any) -> bool:
    return isinstance(batch.get("labels") if hasattr(batch, "get") else None, torch.Tensor)


def _as_tensor(value: Any, device: torch.device) -> torch.Tensor:
    value = 0.0 if value is None else value
    if hasattr(value, "full_tensor"):  # sharded
        value = value.full_tensor()
    return torch.as_tensor(value, dtype=torch.float32, device=device).detach()


def _finite(value: torch.Tensor) -> float:
    return float(value) if bool(value.isfinite()) else 0.0


def _tells_of_short_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in said or "not enough memory" in said
    )


def _fingerprints(model: Any) -> dict[str, float]:
    """Return a number for each B matrix that changes when it does; sharded ones have none.

    Without a B matrix, for each trained tensor: those beside B change by weight decay alone.
    """
    trained = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.numel() and not hasattr(parameter, "ds_id")
    }
    matrices = {name: tensor for name, tensor in trained.items() if "lora_B" in name} or trained
    return {
        name: float((tensor.double() * _weights_of(tensor)).sum())
        for name, tensor in matrices.items()
    }


def _weights_of(tensor: torch.Tensor) -> torch.Tensor:
    return torch.linspace(1, 2, tensor.numel(), dtype=torch.double, device=tensor.device).view(
        tensor.shape
    )
