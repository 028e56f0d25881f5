"""What a run will take before it runs: memory, steps, tokens and time, from its settings alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from ..errors import UsageError
from ..models.activations import StepMemory, step_memory
from ..models.architecture import skeleton
from ..models.base import Quantization
from ..models.cards import Card
from ..models.flops import Arithmetic
from ..models.memory import (
    AdapterMemory,
    WeightMemory,
    adapter_memory,
    trained_tensors,
    weight_memory,
    with_adapter,
)
from .batches.batch_size import accumulation_for
from .checks.conditions import Batch
from .evaluation_memory import EvaluationMemory, EvaluationSettings
from .forward.loss import token_figures
from .forward.predictions import inputs_as_they_are
from .optimizers.sharding import Sharding

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PretrainedConfig

    from .config import FinSFTConfig

#: The part of a card's peak that training is taken to reach; an assumption.
UTILISATION = 0.35

#: Bytes of state for a number that is trained in float32, by the beginning of ``optim``. The
#: 8-bit ones keep small tensors in float32, which this leaves out.
_STATE = {
    "adamw_torch_8bit": 2,
    "adamw_torch_4bit": 1,
    "adamw_8bit": 2,
    "paged_adamw_8bit": 2,
    "adamw_bnb_8bit": 2,
    "adamw": 8,
    "paged_adamw": 8,
    "lion": 4,
    "rmsprop": 4,
    "adagrad": 4,
    "sgd": 0,
}


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """How long the training rows are, in tokens of prompt and answer together.

    Attributes:
        rows: training rows; None where they are not known.
        median, p95, longest: lengths at these places.
        tokens, pairs: the sum of all lengths, and of all pairs of a token and one that it sees.
        answers: trained tokens of all rows; ``answer`` of one row, rounded up.
        shared: tokens that all rows begin with; none where that is not known.
        source: where they come from, for a person.
    """

    rows: int | None
    median: int
    p95: int
    longest: int
    tokens: int
    pairs: int
    answers: int
    answer: int
    shared: int = 0
    source: str

    @classmethod
    def of(cls, lengths: Sequence[int], *, answers: int, source: str, shared: int = 0) -> Lengths:
        """Return the figures of encoded rows."""
        ordered = sorted(int(length) for length in lengths)

        def at(share: float) -> int:
            return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]

        return cls(
            rows=len(ordered),
            median=at(0.5),
            p95=at(0.95),
            longest=ordered[-1],
            tokens=sum(ordered),
            pairs=sum(length * (length + 1) // 2 for length in ordered),
            answers=answers,
            answer=math.ceil(answers / len(ordered)),
            shared=shared,
            source=source,
        )

    @classmethod
    def stated(
        cls, median: int, p95: int, longest: int, *, rows: int | None, answer: int, source: str
    ) -> Lengths:
        """Return figures that somebody names; the mean is taken to be the median."""
        if not 1 <= median <= p95 <= longest:
            raise UsageError(
                f"The lengths {median}, {p95}, {longest} do not rise.",
                fix="Give the median, the 95th percentile and the longest, in tokens.",
            )
        many = rows or 0
        return cls(
            rows=rows,
            median=median,
            p95=p95,
            longest=longest,
            tokens=many * median,
            pairs=many * median * (median + 1) // 2,
            answers=many * answer,
            answer=answer,
            source=source,
        )

    def percentiles(self) -> dict[str, int]:
        """Return what activations are told for."""
        return {"p50": self.median, "p95": self.p95, "max": self.longest}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run as its settings describe it, on ``processes`` GPUs; all memory is that of one of them.

    Everything about memory is arithmetic over shapes. Not counted are what kernels take inside one
    call and what the allocator loses, for which ``Card.usable`` leaves room.

    Attributes:
        attention: the recipe's attn_implementation; the model's default where it is None.
        fsdp: whether the launcher has the processes share out the model by FSDP.
        evaluation: how the base and the adapter are evaluated on the same cards; None for not.
        utilisation: the part of a card's peak that training is taken to reach.
    """

    config: PretrainedConfig
    quantization: Quantization
    adapter: PeftConfig
    training: FinSFTConfig
    lengths: Lengths
    attention: str | None = None
    processes: int = 1
    fsdp: bool = False
    evaluation: EvaluationSettings | None = None
    utilisation: float = UTILISATION

    @cached_property
    def weights(self) -> WeightMemory:
        """The base's weights, whole."""
        return weight_memory(
            skeleton(self.config, quantization=self.quantization), self.quantization
        )

    @cached_property
    def _tuned(self) -> Any:
        return with_adapter(skeleton(self.config), self.adapter)

    @cached_property
    def sharding(self) -> Sharding:
        """What the processes share out."""
        return Sharding.of(self.training, fsdp=self.fsdp)

    @cached_property
    def adapter_dtype(self) -> torch.dtype:
        """The type of the trained numbers."""
        if self.sharding.masters:
            return torch.bfloat16
        dtype: torch.dtype = getattr(torch, self.training.adapter_dtype)
        return dtype

    @cached_property
    def adapter_memory(self) -> AdapterMemory:
        """The adapter, whole."""
        return adapter_memory(self._tuned, dtype=self.adapter_dtype)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the base's weights on one GPU."""
        return self._part(self.weights.bytes, from_stage=3)

    @property
    def adapter_bytes(self) -> int:
        """Bytes of the adapter on one GPU."""
        return self._part(self.adapter_memory.bytes, from_stage=3)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of the adapter's gradients; DDP holds them once more, in the form it sends."""
        copies = 2 if self.processes > 1 and self.sharding.stage == 0 else 1
        return self._part(copies * self.adapter_memory.bytes, from_stage=2)

    @cached_property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return str(getattr(self.training.optim, "value", self.training.optim))

    @property
    def optimizer_bytes(self) -> int:
        """Bytes of the optimizer's state on one GPU."""
        numbers = self.adapter_memory.parameters
        if self.optimizer == "zero_one_adam" and self.processes > 1:
            return zero_one_bytes(self._sizes, processes=self.processes)
        known = [name for name in _STATE if self.optimizer.startswith(name)]
        if not known and self.optimizer != "zero_one_adam":
            raise UsageError(
                f"The memory of the optimizer '{self.optimizer}' is not known here.",
                fix=f"Known: {', '.join(_STATE)}, zero_one_adam.",
            )
        each = _STATE[max(known, key=len)] if known else _STATE["adamw"]
        if self.sharding.masters:
            return self._part((each + 4) * numbers, from_stage=1)
        width = self.adapter_memory.bytes / numbers / 4 if each >= 4 else 1.0
        counters = 4 * self.adapter_memory.tensors if each else 0
        return self._part(round(each * numbers * width) + counters, from_stage=3)

    @cached_property
    def _sizes(self) -> list[int]:
        tensors = trained_tensors(self._tuned, dtype=self.adapter_dtype)
        return [numbers for _, (numbers, _) in tensors]

    def _part(self, whole: int, *, from_stage: int) -> int:
        return whole // self.processes if self.sharding.stage >= from_stage else whole

    # Activations.

    @property
    def folds(self) -> bool:
        """Whether a batch is computed as one sequence without padding."""
        return bool(self.training.share_prefix and self.attention in (None, "sdpa"))

    @property
    def limit(self) -> int | None:
        """Tokens that go through the model at once; None for any number."""
        if self.training.deepspeed or self.sharding.stage:
            return None
        return self.training.max_tokens_per_pass

    def step(
        self, length: int, *, rows: int | None = None, again: bool | None = None
    ) -> StepMemory:
        """Return what the largest pass takes of a micro batch whose longest rows have ``length``.

        Shorter rows fill a folded pass up to its limit, however long the longest one is. What all
        rows begin with is computed once; what only some share is counted for each of them.

        Args:
            rows: rows of the micro batch; the settings' when None.
            again: whether activations are recomputed; the settings' when None.
        """
        rows = rows or self.training.per_device_train_batch_size
        recompute = self.training.activation_checkpointing if again is None else again
        limit = rows * length if self.limit is None else self.limit
        if self.folds:
            shared = min(self.lengths.shared, length - 1, self.lengths.median - 1)
            tokens = max(length, min(shared + rows * (length - shared), limit))
            own = self.lengths.median - shared
            answers = min(rows, math.ceil((tokens - shared) / own))
            return self._step(1, tokens, seen=length, answers=answers, recompute=bool(recompute))
        rows = max(min(rows, limit // length), 1)
        return self._step(rows, length, seen=None, answers=1, recompute=bool(recompute))

    def _step(
        self, rows: int, length: int, *, seen: int | None, answers: int, recompute: bool
    ) -> StepMemory:
        known: dict[Any, StepMemory] = self.__dict__.setdefault("_steps", {})
        key = (rows, length, seen, answers, recompute)
        if key not in known:
            known[key] = step_memory(
                self.config,
                quantization=self.quantization,
                adapter=self.adapter,
                adapter_dtype=self.adapter_dtype,
                rows=rows,
                length=length,
                trained=min(answers * self.lengths.answer, length),
                checkpointing=recompute,
                autocast=bool(self.training.bf16),
                seen=seen,
                eager=self.attention == "eager",
                losses=lambda logits, targets: token_figures(logits, targets).losses,
                around=inputs_as_they_are if self.training.bf16 else None,
            )
        return known[key]

    def peak(self, *, rows: int | None = None, again: bool | None = None) -> int:
        """Bytes of the pass that takes the most in training, whichever rows it holds."""
        lengths = self.lengths.percentiles().values()
        return max(self.step(length, rows=rows, again=again).peak for length in lengths)

    @cached_property
    def evaluation_memory(self) -> EvaluationMemory | None:
        """What evaluating takes beside all that is held; None where nothing is evaluated."""
        if self.evaluation is None:
            return None
        return self.evaluation.memory(
            self.config,
            quantization=self.quantization,
            adapter=self.adapter,
            longest=self.lengths.longest,
            eager=self.attention == "eager",
        )

    @property
    def evaluation_peak(self) -> int:
        """Bytes of the pass that takes the most in evaluation."""
        return 0 if self.evaluation_memory is None else self.evaluation_memory.peak

    def gathered(self) -> int:
        """Bytes of one layer's weights, which every process gathers whole where they are shared."""
        layers: int = self.config.get_text_config().num_hidden_layers
        return self.weights.bytes // layers if self.sharding.stage >= 3 else 0

    # All of it.

    @property
    def held(self) -> int:
        """Bytes of what one GPU holds all the time."""
        adapter = self.adapter_bytes + self.gradient_bytes + self.optimizer_bytes
        return self.weight_bytes + self.gathered() + adapter

    def total(self, *, rows: int | None = None, again: bool | None = None) -> int:
        """Bytes of one GPU at most: what is held, and the largest pass of all."""
        return self.held + max(self.peak(rows=rows, again=again), self.evaluation_peak)

    def fits(self, card: Card, *, rows: int | None = None, again: bool | None = None) -> bool:
        """Whether the run fits such a card."""
        room = card.usable - self.held
        if room <= 0 or self.evaluation_peak > room:
            return False
        return self.peak(rows=rows, again=again) <= room

    def largest_micro_batch(self, card: Card) -> int | None:
        """Return the most rows at once that fit with the same global batch; None when none do."""
        each = self.batch.per_device * self.batch.accumulation
        for rows in range(each, 0, -1):
            if each % rows == 0 and self.fits(card, rows=rows):
                return rows
        return None

    @cached_property
    def batch(self) -> Batch:
        """The rows of a step, and the steps."""
        micro = self.training.per_device_train_batch_size
        wanted = self.training.global_batch_size
        return Batch(
            rows=self.lengths.rows or 0,
            per_device=micro,
            processes=self.processes,
            accumulation=self.training.gradient_accumulation_steps
            if wanted is None
            else accumulation_for(wanted, micro_batch=micro, processes=self.processes),
            epochs=self.training.num_train_epochs,
            max_steps=self.training.max_steps,
        )

    @property
    def _epochs(self) -> float:
        if self.training.max_steps > 0:
            return self.training.max_steps * self.batch.whole / max(self.batch.rows, 1)
        return self.training.num_train_epochs

    @property
    def tokens(self) -> int:
        """Tokens of the whole run, each time that they are read."""
        return round(self.lengths.tokens * self._epochs)

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of the whole run, recomputed ones included."""
        arithmetic = Arithmetic.of(
            skeleton(self.config), adapter_parameters=self.adapter_memory.parameters
        )
        return round(
            self._epochs
            * arithmetic.training(
                tokens=self.lengths.tokens,
                pairs=self.lengths.pairs,
                predictions=self.lengths.answers,
                again=bool(self.training.activation_checkpointing),
            )
        )

    def seconds(self, card: Card) -> float:
        """Return the estimated time of training on such cards, evaluation and loading left out."""
        return self.flops / (self.utilisation * card.tflops * 1e12 * self.processes)

    def report(self, card: Card | None) -> dict[str, Any]:
        """Return everything as JSON values; memory in bytes of one GPU."""
        steps = {
            name: dataclasses.asdict(self.step(length))
            for name, length in self.lengths.percentiles().items()
        }
        found: dict[str, Any] = {
            "weights": dataclasses.asdict(self.weights) | {"on_one_gpu": self.weight_bytes},
            "adapter": dataclasses.asdict(self.adapter_memory) | {"on_one_gpu": self.adapter_bytes},
            "gradients": self.gradient_bytes,
            "optimizer": {"name": self.optimizer, "bytes": self.optimizer_bytes},
            "gathered": self.gathered(),
            "sharding": self.sharding.name,
            "activations": steps,
            "max_tokens_per_pass": self.limit,
            "evaluation": None
            if self.evaluation_memory is None
            else dataclasses.asdict(self.evaluation_memory) | {"peak": self.evaluation_peak},
            "total": self.total(),
            "lengths": dataclasses.asdict(self.lengths),
            "batch": self.batch.report() if self.lengths.rows else None,
            "tokens": self.tokens if self.lengths.rows else None,
            "flops": self.flops if self.lengths.rows else None,
        }
        if card is not None:
            found["gpu"] = {
                "name": card.name,
                "memory_mib": card.memory_mib,
                "usable": card.usable,
                "fits": self.fits(card),
                "largest_micro_batch": self.largest_micro_batch(card),
                "total_with_activation_checkpointing": None
                if self.fits(card) or self.training.activation_checkpointing
                else self.total(again=True),
                "peak_tflops": card.tflops,
                "assumed_utilisation": self.utilisation,
                "estimated_seconds": round(self.seconds(card)) if self.lengths.rows else None,
            }
        return found


def zero_one_bytes(sizes: Sequence[int], *, processes: int) -> int:
    """Return the bytes of 0/1 Adam's state on one process, for tensors of these sizes.

    Seven float32 matrices (weights, gradient, momentum, variance and its root, what was moved, what
    is shown), the error of what is sent, and a share of the error of what is answered.
    """
    from .optimizers.one_bit import ROW

    rows = sum(math.ceil(size / ROW) for size in sizes)
    share = math.ceil(rows / processes)
    return 4 * ROW * (8 * share * processes + share)
