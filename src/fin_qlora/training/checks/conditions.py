"""How a run will train besides its rows, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import EmptyDatasetError, EnvironmentFault, UsageError
from ..optimizers.zero_one_training import settle_optimizer
from .egress import Contact, contacts, leaving

if TYPE_CHECKING:
    from ..config import FinSFTConfig


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The arithmetic of a step: ``per_device`` x ``processes`` x ``accumulation`` rows."""

    rows: int
    per_device: int
    processes: int
    accumulation: int
    epochs: float
    max_steps: int = -1

    @property
    def whole(self) -> int:
        """Return the rows of one step, over all processes: the global batch."""
        return self.per_device * self.processes * self.accumulation

    @property
    def steps_an_epoch(self) -> int:
        """Return the steps in which every row is seen once."""
        return math.ceil(self.rows / self.whole)

    @property
    def steps(self) -> int:
        """Return the steps of the whole run."""
        return (
            self.max_steps if self.max_steps > 0 else math.ceil(self.epochs * self.steps_an_epoch)
        )

    def report(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "per_device_train_batch_size": self.per_device,
            "processes": self.processes,
            "gradient_accumulation_steps": self.accumulation,
            "global_batch_size": self.whole,
            "steps_an_epoch": self.steps_an_epoch,
            "steps": self.steps,
        }


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Batch, precision and optimizer of a run, and whom it speaks to."""

    batch: Batch
    precision: str
    optimizer: str
    zero_stage: int | None
    contacts: tuple[Contact, ...]

    def report(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "batch": self.batch.report(),
            "precision": self.precision,
            "optimizer": self.optimizer,
            "deepspeed_zero_stage": self.zero_stage,
            "speaks_to": leaving(self.contacts),
        }

    def lines(self) -> list[str]:
        """Return all of it as lines for a person."""
        b = self.batch
        return [
            f"global batch {b.whole} = {b.per_device} rows x {b.processes} processes x "
            f"{b.accumulation} accumulated; {b.steps_an_epoch} steps an epoch, {b.steps} in all",
            f"{self.precision}, {self.optimizer}"
            + ("" if self.zero_stage is None else f", DeepSpeed ZeRO stage {self.zero_stage}"),
            *(one.sentence for one in self.contacts if one.host),
        ]


def check_conditions(
    training: Any, *, rows: int, base: str, tasks: Sequence[str] = ()
) -> Conditions:
    """Return the conditions of a run whose settings ``check_settings`` has passed.

    Args:
        training: the training arguments.
        rows: training rows of all tasks.
        base: name of the base.
        tasks: names of the tasks.

    Raises:
        UsageError: several tasks are to be packed.
        EmptyDatasetError: a process would have no row.
    """
    if training.packing and len(tasks) > 1:
        raise UsageError(
            f"packing is on, and {len(tasks)} tasks are trained: a packed row has no task.",
            fix="Turn packing off.",
        )
    batch = Batch(
        rows=rows,
        per_device=training.per_device_train_batch_size,
        processes=training.world_size,
        accumulation=training.gradient_accumulation_steps,
        epochs=training.num_train_epochs,
        max_steps=training.max_steps,
    )
    if rows < batch.processes:
        raise EmptyDatasetError(
            f"There are {rows} training rows for {batch.processes} processes.",
            fix="Start fewer processes.",
        )
    return Conditions(
        batch=batch,
        precision="bfloat16" if training.bf16 else "float16" if training.fp16 else "float32",
        optimizer=_optimizer(training),
        zero_stage=_zero_stage(training.deepspeed),
        contacts=tuple(contacts(training, base=base)),
    )


def check_settings(training: FinSFTConfig) -> None:
    """Check precision and optimizer, which needs no row.

    Raises:
        UsageError: settings that contradict one another, or the number of processes.
        EnvironmentFault: this machine cannot train in the precision that is set.
    """
    check_precision(training)
    settle_optimizer(training)


def check_precision(training: Any) -> None:
    """Refuse a precision that cannot work with a base that is computed in bfloat16."""
    import torch

    gpu = torch.cuda.is_available() and not training.use_cpu
    if training.fp16 and not gpu:
        raise EnvironmentFault(
            "fp16 is on, and this run is on a processor, which has no float16 training.",
            fix="Set bf16: true.",
        )
    if training.fp16 and training.deepspeed is None:
        raise UsageError(
            "fp16 is on, but the base is computed in bfloat16, which loss scaling does not fit.",
            fix="Set bf16: true, or use a DeepSpeed configuration for float16.",
        )
    if training.bf16 and gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise EnvironmentFault(
            f"bf16 is on, and {torch.cuda.get_device_name()} has no bfloat16.",
            fix="Use a GPU of the Ampere generation or newer.",
        )


def _optimizer(training: Any) -> str:
    return str(getattr(training.optim, "value", training.optim))


def _zero_stage(given: Any) -> int | None:
    if given is None:
        return None
    return int(given.get("zero_optimization", {}).get("stage", 0))
