"""From a batch to what the model predicts at the trained tokens, and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import PeftModel

from ...prompts.contract import IGNORED
from .attention import MASK, NAME, Layout, register
from .folding import fold, passes
from .last_layer import LastLayer
from .layout_probe import reaches_attention

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: What a batch may hold to be folded; with positions or packed lengths it has a layout already.
_FOLDABLE = {"input_ids", "attention_mask", "labels"}
#: Attention that is causal without being told by a mask.
_CAUSAL = ("sdpa", "eager", NAME)
#: What configurations call the share of attention weights that training drops.
_DROPOUT = (
    "attention_dropout",
    "attn_dropout",
    "attn_pdrop",
    "attention_dropout_rate",
    "attention_probs_dropout_prob",
)


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
        self._unmasked = model.config._attn_implementation in _CAUSAL
        self.folds = share_prefix and can_fold(model) and _told(model)
        if self.folds:
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
            attention_mask=torch.ones(MASK, dtype=torch.bool, device=device),
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

    That is so for decoders of full attention without dropout that take transformers' attention
    functions, while they use ``sdpa``, the usual one.
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
        and not any(getattr(text, name, None) for name in _DROPOUT)
        and not any(isinstance(module, torch.nn.Conv1d) for module in model.modules())
    )


def split(
    inputs: Mapping[str, Any], *, limit: int | None, shared: bool = True
) -> list[dict[str, Any]]:
    """Return a padded batch as batches of at most ``limit`` tokens, or of one row.

    Padding counts, unless batches are folded (``shared``): then what rows share counts once. A
    batch that says more of its layout than padding stays whole.
    """
    whole = [dict(inputs)]
    tensors = (inputs.get("input_ids"), inputs.get("attention_mask"))
    if limit is None or not (inputs.keys() <= _FOLDABLE | {"task_ids"}):
        return whole
    ids, mask = tensors
    if ids is None or mask is None or mask.ndim != 2 or ids.numel() <= limit:
        return whole
    groups = passes(ids, mask, limit=limit, shared=shared)
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


def _told(model: PreTrainedModel) -> bool:
    """Make a model attend as folded batches need, if what it is called with gets that far."""
    before = model.config._attn_implementation
    register()
    model.set_attn_implementation(NAME)
    reached = reaches_attention(model)
    if not reached:
        model.set_attn_implementation("sdpa" if before == NAME else before)
    return reached


def _padded_right(mask: torch.Tensor) -> bool:
    return not bool((mask[:, 1:] > mask[:, :-1]).any())


def _at(logits: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return the logits at the places kept, also of a model that computed them everywhere."""
    return logits[kept] if logits.shape[:-1] == kept.shape else logits
