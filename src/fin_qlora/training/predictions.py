"""From a batch to what the model predicts at the trained tokens, and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import PeftModel

from ..prompts.contract import IGNORED
from .attention import NAME, Layout, register
from .folding import fold, passes
from .last_layer import LastLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: What a batch may hold to be folded; with positions or packed lengths it has a layout already.
_FOLDABLE = {"input_ids", "attention_mask", "labels"}
#: Attention that is causal without being told by a mask.
_CAUSAL = ("sdpa", "eager", NAME)


class Predictions(NamedTuple):
    """``logits`` (predictions, vocabulary), ``targets`` and ``rows`` (predictions,)."""

    logits: torch.Tensor
    targets: torch.Tensor
    rows: torch.Tensor


class Predictor:
    """Runs a model on batches, with the head only at the tokens that are trained.

    Args:
        model: the base, alone or in its adapter; it is told to attend as folded batches need.
        share_prefix: fold batches into one sequence (see ``folding``), where the model can.
    """

    def __init__(self, model: PreTrainedModel | PeftModel, *, share_prefix: bool) -> None:
        if isinstance(model, PeftModel):
            model = model.get_base_model()
        self.folds = share_prefix and can_fold(model)
        self._unmasked = model.config._attn_implementation in _CAUSAL
        if self.folds:
            register()
            model.set_attn_implementation(NAME)
            LastLayer.of(model)

    def predict(self, model: Any, inputs: Mapping[str, Any]) -> Predictions:
        """Return what ``model``, which may be wrapped, predicts for a batch."""
        if self.folds and inputs.keys() == _FOLDABLE and inputs["attention_mask"].ndim == 2:
            return self._folded(model, inputs)
        return self._padded(model, inputs)

    def _folded(self, model: Any, inputs: Mapping[str, Any]) -> Predictions:
        batch = fold(inputs["input_ids"], inputs["labels"], inputs["attention_mask"])
        device = batch.input_ids.device
        kept = torch.zeros(1, len(batch.input_ids), dtype=torch.bool, device=device)
        kept[0, batch.places] = True
        logits = model(
            input_ids=batch.input_ids[None],
            position_ids=batch.positions[None],
            # four dimensions: the model takes it as it is, instead of making one of the positions
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
            folding=Layout(batch.nodes, places=batch.places),
            logits_to_keep=kept,
            use_cache=False,
        ).logits
        logits = _at(logits, kept)
        if len(batch.which) > len(batch.places):
            logits = logits[batch.which]
        return Predictions(logits, batch.targets, batch.rows)

    def _padded(self, model: Any, inputs: Mapping[str, Any]) -> Predictions:
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        kept = torch.zeros_like(labels, dtype=torch.bool)
        kept[:, :-1] = labels[:, 1:] != IGNORED
        mask = inputs.get("attention_mask")
        if self._unmasked and mask is not None and mask.ndim == 2 and _padded_right(mask):
            del inputs["attention_mask"]  # tokens never look at what is behind them
        logits = model(**inputs, logits_to_keep=kept, use_cache=False).logits
        rows, columns = kept.nonzero(as_tuple=True)
        return Predictions(_at(logits, kept), labels[rows, columns + 1], rows)


def can_fold(model: PreTrainedModel) -> bool:
    """Return whether a model's attention can be told what a token sees, and is all that looks back.

    That is so for decoders of full attention that take transformers' attention functions, while
    they use ``sdpa``, the usual one.
    """
    text: Any = model.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    windows = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return bool(
        getattr(model, "_supports_attention_backend", False)
        and model.config._attn_implementation in ("sdpa", NAME)
        and not getattr(model.config, "is_encoder_decoder", False)
        and kinds == {"full_attention"}
        and not windows
        and getattr(text, "attn_logit_softcapping", None) is None
        and not any(isinstance(module, torch.nn.Conv1d) for module in model.modules())
    )


def split(inputs: Mapping[str, Any], *, limit: int | None) -> list[dict[str, Any]]:
    """Return a padded batch as batches of at most ``limit`` tokens, or of one row.

    A batch that says more of its layout than padding stays whole.
    """
    whole = [dict(inputs)]
    tensors = (inputs.get("input_ids"), inputs.get("attention_mask"))
    if limit is None or not (inputs.keys() <= _FOLDABLE | {"task_ids"}):
        return whole
    ids, mask = tensors
    if ids is None or mask is None or mask.ndim != 2 or ids.numel() <= limit:
        return whole
    groups = passes(ids, mask, limit=limit)
    if len(groups) == 1:
        return whole
    parts = []
    for group in groups:
        rows = torch.tensor(group, device=ids.device)
        part = {name: value[rows] for name, value in inputs.items()}
        used = part["attention_mask"].any(0).nonzero()
        first, last = int(used[0]), int(used[-1]) + 1
        parts.append(
            {
                name: value[:, first:last] if value.ndim == 2 else value
                for name, value in part.items()
            }
        )
    return parts


@contextlib.contextmanager
def inputs_as_they_are(model: torch.nn.Module) -> Iterator[None]:
    """Keep LoRA layers from making float32 copies of their inputs, which autocast undoes at once.

    DoRA keeps them: it computes norms with its weights.
    """
    layers: list[Any] = [
        module
        for module in model.modules()
        if getattr(module, "cast_input_dtype_enabled", False)
        and not getattr(module, "lora_variant", None)
    ]
    for layer in layers:
        layer.cast_input_dtype_enabled = False
    try:
        yield
    finally:
        for layer in layers:
            layer.cast_input_dtype_enabled = True


def _padded_right(mask: torch.Tensor) -> bool:
    return not bool((mask[:, 1:] > mask[:, :-1]).any())


def _at(logits: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the logits at the places kept, also of a model that computed them everywhere."""
    return logits[kept] if logits.shape[:-1] == kept.shape else logits
