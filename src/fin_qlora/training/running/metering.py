"""What a training costs, counted while it goes, on all processes and over all of its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from ...evidence.cost import NOTHING, ProcessMeter, RunCost

if TYPE_CHECKING:
    from ..trainer import FinSFTTrainer


class CostMeter(TrainerCallback):
    """Measures a training from its first step to its last, evaluations between them included."""

    def __init__(self, trainer: FinSFTTrainer) -> None:
        self._trainer = trainer
        self._seen_before = 0
        self.begin(earlier=NOTHING)

    def begin(self, *, earlier: RunCost | None) -> None:
        """Start to measure; ``earlier`` is what the parts before cost, None where that is lost."""
        self._earlier = earlier
        self._meter = ProcessMeter()
        self._trained: torch.Tensor | int = 0

    def count(self, trained: torch.Tensor) -> None:
        """Count tokens of this process that are trained on; waits for no device."""
        self._trained = self._trained + trained

    def gathered(self) -> RunCost:
        """Return what the run cost until now; all processes must ask together."""
        trainer = self._trainer
        trainer.count_tokens()
        mine = self._meter.cost(rank=trainer.args.process_index)
        parts = gather_object([(mine, int(self._trained))])
        return RunCost.of(
            [process for process, _ in parts],
            seconds=self._meter.seconds,
            trained_tokens=sum(trained for _, trained in parts),
            seen_tokens=int(trainer._total_train_tokens) - self._seen_before,
        ).and_before(self._earlier)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the tokens seen before this part of the run."""
        self._seen_before = int(self._trainer._total_train_tokens)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the GPU now and then."""
        self._meter.look()
