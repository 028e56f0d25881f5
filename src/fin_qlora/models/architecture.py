"""What a base model is made of, known without its weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .base import Quantization, locate_base, quantization_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

#: Hidden size, size inside the feed-forward block, layers, attention heads (arXiv 2407.21783,
#: table 3). Both have 8 key-value heads and the same vocabulary.
_LLAMA_31 = {"8b": (4096, 14336, 32, 32), "70b": (8192, 28672, 80, 64)}
_LLAMA_31_NAME = re.compile(r"(?:meta-llama/)?(?:meta-)?llama-3\.1-(8b|70b)(?:-instruct)?", re.I)


def architecture(name: str, *, revision: str | None = None) -> PretrainedConfig:
    """Return the configuration of a base model; no weights are read or downloaded.

    The shapes of Llama 3.1 8B and 70B are built in. Of any other base, config.json is taken from
    its folder, the cache or the hub.

    Raises:
        MissingFileError, HubError and its kinds: there is no config.json to be had.
    """
    known = _LLAMA_31_NAME.fullmatch(name)
    if known is not None:
        return llama_31(known[1].lower())
    from transformers import AutoConfig

    folder, _ = locate_base(name, revision=revision, weights=False)
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def llama_31(size: str, **changes: Any) -> PretrainedConfig:
    """Return the configuration of Llama 3.1; ``size`` is ``8b`` or ``70b``."""
    from transformers import LlamaConfig

    hidden, inside, layers, heads = _LLAMA_31[size]
    settings = {
        "vocab_size": 128_256,
        "hidden_size": hidden,
        "intermediate_size": inside,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
        "tie_word_embeddings": False,
        "bos_token_id": 128_000,
        "eos_token_id": 128_009,
    }
    return LlamaConfig(**(settings | changes))


def skeleton(
    config: PretrainedConfig, *, quantization: Quantization = "none", **options: Any
) -> PreTrainedModel:
    """Return the model as ``load_model`` would, on the meta device: shapes and types, no numbers.

    Layers that would be quantised are bitsandbytes' own, with weights that are not quantised yet.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.integrations.bitsandbytes import replace_with_bnb_linear
    from transformers.quantizers.base import get_keys_to_not_convert

    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16, trust_remote_code=False, **options
        )
    chosen = quantization_config(quantization)
    if chosen is not None:
        replace_with_bnb_linear(
            model,
            modules_to_not_convert=get_keys_to_not_convert(model),
            quantization_config=chosen,
        )
        # what PEFT asks for before it makes a quantised LoRA layer
        model.is_loaded_in_4bit = quantization != "8bit"
        model.is_loaded_in_8bit = quantization == "8bit"
    return model.requires_grad_(False)
