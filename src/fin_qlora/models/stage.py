"""A part of a base: some of its layers, read from its files without the others.

It is the architecture's own class with its own forward pass. Layers of other stages, and where they
belong elsewhere the embeddings, the last norm and the head, are places that hold no weight and hand
on what they get. Names of weights are those of the whole base, so that an adapter finds its layers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import DataError, UsageError
from .base import Quantization, keep_trainable, quantization_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

#: Architectures whose pass is: embed, layers one after another, norm, head; and nothing between.
LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which layers a stage has, ``first`` up to but without ``end``, of ``layers`` in the base."""

    first: int
    end: int
    layers: int

    @property
    def embeds(self) -> bool:
        """Return whether the stage turns tokens into vectors."""
        return self.first == 0

    @property
    def predicts(self) -> bool:
        """Return whether the stage has the last norm and the head."""
        return self.end == self.layers


class Elsewhere(nn.Module):
    """The place of a module that another stage has."""

    def forward(self, states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Return the states as they are."""
        return states


def check_llama_like(config: PretrainedConfig) -> None:
    """Raise UsageError where a base is not of an architecture that can be cut into stages."""
    if config.model_type not in LLAMA_LIKE:
        raise UsageError(
            f"A base of type '{config.model_type}' cannot be cut into stages.",
            fix=f"Those of {', '.join(LLAMA_LIKE)} can.",
        )


def load_stage(
    folder: Path,
    span: Span,
    *,
    config: PretrainedConfig,
    quantization: Quantization,
    device: torch.device,
) -> PreTrainedModel:
    """Load the layers of ``span`` as ``load_model`` loads a whole base; no other tensor is read.

    Args:
        config: of the whole base.

    Raises:
        UsageError: the base is not Llama-like.
        DataError: a tensor is missing.
    """
    check_llama_like(config)
    options: dict[str, Any] = {"device_map": {"": device}} if device.type != "cpu" else {}
    chosen = quantization_config(quantization)
    if chosen is not None:
        # what is not quantised is seen on the whole base; of a part, another module would be last
        chosen.llm_int8_skip_modules = _whole_numbers(config)
        options["quantization_config"] = chosen
    own = copy.deepcopy(config)
    tied = bool(config.tie_word_embeddings)
    own.tie_word_embeddings = tied and span.predicts
    model, loaded = _stage_class(config, span).from_pretrained(
        folder,
        config=own,
        dtype=torch.bfloat16,
        trust_remote_code=False,
        attn_implementation="sdpa",
        output_loading_info=True,
        **options,
    )
    absent = sorted(loaded["missing_keys"])
    if absent:
        raise DataError(
            f"The base in '{folder}' has no tensor '{absent[0]}'.", fix="Fetch it again."
        )
    keep_trainable(model)
    part: PreTrainedModel = model.requires_grad_(False)
    return part.eval()


def _whole_numbers(config: PretrainedConfig) -> list[str]:
    from transformers.quantizers.base import get_keys_to_not_convert

    from .architecture import skeleton

    return sorted(get_keys_to_not_convert(skeleton(config)))


def _stage_class(config: PretrainedConfig, span: Span) -> Any:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    whole: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]

    def made(self: Any, config: PretrainedConfig) -> None:
        whole.__init__(self, config)
        cut(self, span)

    # transformers looks up the file of a class's module
    body = {
        "__init__": made,
        "__module__": whole.__module__,
        "_keys_to_ignore_on_load_unexpected": [r".*"],
    }
    return type(f"{whole.__name__}Stage", (whole,), body)


def cut(model: Any, span: Span) -> None:
    """Take out of a whole model, in place, what does not belong to ``span``."""
    inner = model.model
    for number in range(span.layers):
        if span.first <= number < span.end:
            inner.layers[number].self_attn.layer_idx -= span.first  # its place in a cache
        else:
            inner.layers[number] = Elsewhere()
    tied = span.predicts and model.config.tie_word_embeddings  # then the head reads their weight
    if not span.embeds and not tied:
        inner.embed_tokens = Elsewhere()
    if not span.predicts:
        inner.norm = Elsewhere()
        model.lm_head = Elsewhere()
