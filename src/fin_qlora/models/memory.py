"""How many bytes a base, its adapter and its optimizer take, by arithmetic alone."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import Quantization
from .lora import stored_dtype

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import PretrainedConfig, PreTrainedModel

#: Numbers that share one scale in a 4-bit layer, and scales that share one scale of their own.
_BLOCK, _NESTED_BLOCK = 64, 256
#: Bytes of the table of the 16 values that 4 bits can mean, of the 256 that the quantised scales
#: can, and of the mean that is subtracted from the scales first.
_CODE, _NESTED_CODE, _OFFSET = 16 * 4, 256 * 4, 4


@dataclass(frozen=True, kw_only=True)
class WeightMemory:
    """What the weights of a base take.

    Attributes:
        parameters: numbers in the whole model; tied ones count once.
        quantized: how many of them lie in quantised layers.
        layers: quantised layers.
        bytes: of all weights, scales, tables and buffers together.
    """

    parameters: int
    quantized: int
    layers: int
    bytes: int


def weight_memory(model: PreTrainedModel, quantization: Quantization) -> WeightMemory:
    """Return the size of the weights of ``model``, a skeleton of that quantisation.

    Scales and tables are counted; get_memory_footprint() of transformers leaves them out.
    """
    import bitsandbytes

    kinds = (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt)
    layers: list[Any] = [module for module in model.modules() if isinstance(module, kinds)]
    quantized = {id(layer.weight) for layer in layers}
    plain = [p for p in model.parameters() if id(p) not in quantized]
    inside = sum(layer.weight.numel() for layer in layers)
    return WeightMemory(
        parameters=sum(p.numel() for p in plain) + inside,
        quantized=inside,
        layers=len(layers),
        bytes=sum(tensor.nbytes for tensor in (*plain, *model.buffers()))
        + sum(
            linear_bytes(layer.out_features, layer.in_features, quantization) for layer in layers
        ),
    )


def linear_bytes(rows: int, columns: int, quantization: Quantization) -> int:
    """Return the bytes of one layer's weight of that shape, scales and tables included.

    8 bits: one float32 scale a row (LLM.int8, arXiv 2208.07339). 4 bits: one scale for 64 numbers,
    as float32, or with double quantisation as 8 bits with a float32 scale for 256 of them
    (QLoRA, arXiv 2305.14314, section 3); NF4 and FP4 take the same.
    """
    numbers = rows * columns
    if quantization == "none":
        return 2 * numbers
    if quantization == "8bit":
        return numbers + 4 * rows
    scales = math.ceil(numbers / _BLOCK)
    packed = math.ceil(numbers / 2) + _CODE
    if "single" in quantization:
        return packed + 4 * scales
    return packed + scales + 4 * math.ceil(scales / _NESTED_BLOCK) + _NESTED_CODE + _OFFSET


@dataclass(frozen=True, kw_only=True)
class AdapterMemory:
    """What an adapter takes.

    Attributes:
        parameters: numbers that are trained.
        tensors: tensors that they lie in.
        bytes: while they are trained.
        file_bytes: of adapter_model.safetensors, its head included.
    """

    parameters: int
    tensors: int
    bytes: int
    file_bytes: int


def with_adapter(model: PreTrainedModel, adapter: PeftConfig) -> PeftModel:
    """Return a skeleton with PEFT's own layers on it; any PEFT method, rank and target modules."""
    from peft import get_peft_model

    return get_peft_model(model, adapter, low_cpu_mem_usage=True)


def adapter_memory(model: PeftModel, *, dtype: torch.dtype) -> AdapterMemory:
    """Return the size of the adapter of a skeleton that is trained in ``dtype``."""
    from peft import get_peft_model_state_dict

    trained = dict(trained_tensors(model, dtype=dtype))
    stored = get_peft_model_state_dict(model, save_embedding_layers=False)
    return AdapterMemory(
        parameters=sum(numbers for numbers, _ in trained.values()),
        tensors=len(trained),
        bytes=sum(numbers * width for numbers, width in trained.values()),
        file_bytes=_safetensors_bytes(
            (name, tuple(tensor.shape), stored_dtype(name)) for name, tensor in stored.items()
        ),
    )


def trained_tensors(
    model: PeftModel, *, dtype: torch.dtype
) -> Iterable[tuple[str, tuple[int, int]]]:
    """Yield the name, the numbers and the bytes of a number of each tensor that is trained."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kept = 4 if "lora_magnitude_vector" in name else dtype.itemsize
            yield name, (parameter.numel(), kept)


_NAMES = {2: "BF16", 4: "F32"}


def _safetensors_bytes(tensors: Iterable[tuple[str, tuple[int, ...], torch.dtype]]) -> int:
    """Return the size of a safetensors file: eight bytes, a JSON head in steps of 8, the data."""
    # the widest types come first, then the names in order
    ordered = sorted(tensors, key=lambda each: (-each[2].itemsize, each[0]))
    head: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape, dtype in ordered:
        begin, end = end, end + math.prod(shape) * dtype.itemsize
        head[name] = {
            "dtype": _NAMES[dtype.itemsize],
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + math.ceil(len(text) / 8) * 8 + end


def cache_memory(config: PretrainedConfig, *, rows: int, length: int) -> int:
    """Return the bytes of the bfloat16 key-value cache of ``rows`` texts of ``length`` tokens."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * 2 * config.num_hidden_layers * heads * width * rows * length
