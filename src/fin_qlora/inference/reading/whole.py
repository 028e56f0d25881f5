"""A model that this process holds whole, as scoring and generation ask it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import torch

from ..labels.layout import LabelBatch, additive, picked_states
from ..labels.tree import LabelTree, totals_of
from .any_architecture import takes_masks, takes_positions, totals_apart, written_apart
from .cache import Remembered, passing_cache, reading_cache, remembered, writing_cache
from .last_layer import LastLayer
from .padding import chosen_tokens
from .passes import Passes
from .writing import Writing


def passes_of(model: Any) -> Passes:
    """Return a model as scoring and generation ask it; one in stages is that already."""
    return model if isinstance(model, Passes) else Whole(model)


class Whole:
    """A causal model of transformers, with or without PEFT's layers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._causal = model.get_base_model() if hasattr(model, "peft_config") else model
        self.config = self._causal.config
        self.device: torch.device = self._causal.get_input_embeddings().weight.device
        self.generation_config = getattr(self._causal, "generation_config", None)

    def takes_trees(self, *, longest: int) -> bool:
        """Say whether ``totals`` is right for prompts and labels of up to so many tokens."""
        return takes_positions(self._causal.base_model) and takes_masks(
            self.config, longest=longest
        )

    def totals(
        self, batches: Iterable[LabelBatch], *, tree: LabelTree, beginning: Sequence[int]
    ) -> Generator[torch.Tensor, None, None]:
        """Yield the summed log-probability of each label, (rows, labels), for each batch."""
        last = LastLayer(self._causal)
        with self._asked(), last.watched():
            before = self._read_once(beginning)
            cache = None if before is None else passing_cache(before)
            head = self._causal.get_output_embeddings()
            for batch in batches:
                with torch.no_grad():
                    last.picked = batch.picked
                    hidden = self._hidden(
                        batch.input_ids, batch.position_ids, batch.allowed, cache=cache
                    )
                    states = picked_states(hidden, batch.picked)
                    totals = totals_of(head(states.to(head.weight.dtype)), tree).cpu()
                yield totals

    def totals_apart(
        self, batches: Iterable[Sequence[Sequence[int]]], *, answers: Sequence[Sequence[int]]
    ) -> Generator[torch.Tensor, None, None]:
        """Yield the same for batches of whole prompts, each label read on its own."""
        with self._asked():
            for prompts in batches:
                with torch.no_grad():
                    totals = totals_apart(self._causal, prompts, answers)
                yield totals

    def continued(
        self,
        batches: Iterable[Sequence[list[int]]],
        *,
        beginning: Sequence[int],
        stops: Sequence[int],
        room: int,
    ) -> Generator[list[list[int]], None, None]:
        """Yield, for each batch of prompts, the ids that follow each prompt."""
        with self._asked():
            before: list[Remembered] | None = None
            for prompts in batches:
                longest = len(beginning) + max(map(len, prompts)) + room
                with torch.no_grad():
                    if self.takes_trees(longest=longest):
                        before = before or self._read_once(beginning)
                        answers = self._written(prompts, before, stops, room)
                    else:
                        whole = [[*beginning, *prompt] for prompt in prompts]
                        answers = written_apart(self._causal, whole, stops, room)
                yield answers

    def _written(
        self,
        prompts: Sequence[list[int]],
        before: list[Remembered] | None,
        stops: Sequence[int],
        room: int,
    ) -> list[list[int]]:
        begun = 0 if before is None else before[0][0].shape[-2]
        writing = Writing(prompts, begun=begun, stops=stops, room=room)
        width = writing.ids.shape[1]
        cache = writing_cache(before, layers=self.config.num_hidden_layers, room=width + room)
        head = self._causal.get_output_embeddings()
        while not writing.ended:
            hidden = self._hidden(writing.ids, writing.positions, writing.allowed, cache=cache)
            logits = head(hidden[:, -1].to(head.weight.dtype))
            writing.take(chosen_tokens(logits, model=self._causal), caches=cache.layers)
        return writing.answers

    def _hidden(
        self, ids: torch.Tensor, positions: torch.Tensor, allowed: torch.Tensor, *, cache: Any
    ) -> torch.Tensor:
        """Return the last layer's states of one pass, (rows, width, …)."""
        causal, device = self._causal, self.device
        hidden: torch.Tensor = causal.base_model(
            input_ids=ids.to(device),
            attention_mask=additive(allowed, dtype=causal.dtype, device=device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return hidden

    @torch.no_grad()
    def _read_once(self, beginning: Sequence[int]) -> list[Remembered] | None:
        if not beginning:
            return None
        width = len(beginning)
        cache = reading_cache(self.config.num_hidden_layers)
        allowed = torch.ones(1, width, width, dtype=torch.bool).tril()
        ids = torch.tensor([list(beginning)])
        self._hidden(ids, torch.arange(width)[None], allowed, cache=cache)
        return remembered(cache)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """Hold the model in its mode for answers, under an attention that takes a mask of ours."""
        training, used = self._model.training, self.config._attn_implementation
        self._model.eval()
        try:
            if used in ("sdpa", "eager"):
                yield
            else:  # flash attention takes no mask
                self._causal.set_attn_implementation("sdpa")
                try:
                    yield
                finally:
                    self._causal.set_attn_implementation(used)
        finally:
            self._model.train(training)
