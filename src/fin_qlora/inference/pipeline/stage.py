"""One stage at work: states in, states out, or on the last stage what they predict."""

from __future__ import annotations

import time
from typing import Any

import torch

from ...errors import UsageError
from ...models.stage import Span
from ..labels.layout import additive
from ..reading.any_architecture import takes_masks

#: Most passes whose time on a GPU is not yet added up.
_MARKS = 1024


class Stage:
    """The layers of one process.

    Attributes:
        span: which layers they are.
        layers: how many.
        width: numbers in a state.
        dtype: in which states travel.
        causal: the part of the base, without PEFT's wrapping.
        head: of the base, on the last stage.
    """

    def __init__(self, model: Any, *, span: Span, device: torch.device, wire: torch.device) -> None:
        """Take a part of a base as ``load_stage`` returns it, with or without PEFT's layers.

        Args:
            wire: where states lie that go to the next stage.
        """
        causal = model.get_base_model() if hasattr(model, "peft_config") else model
        self.model = model
        self.span = span
        self.device = device
        self.wire = wire
        self.layers = span.end - span.first
        self.width: int = causal.config.hidden_size
        self.head = causal.lm_head
        self.clock = Clock(device)
        self.causal = causal
        self._inner = causal.model

    @property
    def dtype(self) -> torch.dtype:
        """Return the type of the numbers of a state."""
        layer: Any = self._inner.layers[self.span.first]
        found: torch.dtype = layer.input_layernorm.weight.dtype
        return found

    def states(
        self,
        before: torch.Tensor | None,
        *,
        ids: torch.Tensor,
        positions: torch.Tensor,
        allowed: torch.Tensor,
        cache: Any,
    ) -> torch.Tensor:
        """Return the states (rows, width, …) after the layers of this stage.

        Args:
            before: those of the stage before; the first one embeds ``ids``.
        """
        read = (
            {"input_ids": ids.to(self.device)}
            if before is None
            else {"inputs_embeds": before.to(self.device)}
        )
        after: torch.Tensor = self._inner(
            **read,
            attention_mask=additive(allowed, dtype=self.dtype, device=self.device),
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return after if self.span.predicts else after.to(self.wire)

    def check_window(self, longest: int) -> None:
        """Raise UsageError where the base attends to fewer tokens than ``longest``."""
        if not takes_masks(self.causal.config, longest=longest):
            raise UsageError(
                f"The base attends to windows shorter than the {longest} tokens of a row, or "
                "changes its logits, which stages do not know.",
                fix="Ask it without pipeline stages.",
            )

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Return what states of the last stage predict."""
        found: torch.Tensor = self.head(states.to(self.head.weight.dtype))
        return found


class Clock:
    """How long a stage has computed, and how long it was at work or waited for others."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._busy = 0.0
        self._begun = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        if self._on_gpu:
            marks = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            if len(self._marks) == _MARKS:
                self.busy()
            marks[0].record()
            self._marks.append(marks)
        else:
            self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self._marks[-1][1].record()
        else:
            self._busy += time.perf_counter() - self._begun

    def busy(self) -> float:
        """Return the seconds of computing inside ``with`` blocks so far."""
        if self._marks:
            self._marks[-1][1].synchronize()
            self._busy += sum(start.elapsed_time(end) for start, end in self._marks) / 1000
            self._marks.clear()
        return self._busy

    def restart(self) -> None:
        """Begin again at zero."""
        self.busy()
        self._busy = self.seconds = 0.0
