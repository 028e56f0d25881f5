"""A base with random numbers for weights, made layer by layer and never whole in 16 bits."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fin_qlora.models.architecture import skeleton
from fin_qlora.models.base import Quantization, keep_trainable

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

SPREAD = 0.02


def random_base(
    config: PretrainedConfig, *, quantization: Quantization, device: torch.device, seed: int
) -> PreTrainedModel:
    """Return a model as ``load_model`` would, of random weights, on ``device``.

    Each layer is drawn there in bfloat16 and quantised before the next is drawn.
    """
    import bitsandbytes

    generator = torch.Generator(device).manual_seed(seed)
    model = skeleton(config, quantization=quantization)

    def drawn(shape: torch.Size) -> torch.Tensor:
        numbers = torch.empty(shape, dtype=torch.bfloat16, device=device)
        return numbers.normal_(0.0, SPREAD, generator=generator)

    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, bitsandbytes.nn.Linear4bit):
                old: Any = module.weight
                module.weight = bitsandbytes.nn.Params4bit(
                    drawn(old.shape),
                    requires_grad=False,
                    compress_statistics=old.compress_statistics,
                    quant_type=old.quant_type,
                    quant_storage=old.quant_storage,
                    module=module,
                ).to(device)
            elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
                # Int8Params.to() quantises only what comes from a processor's memory
                module.weight = bitsandbytes.nn.Int8Params(
                    drawn(module.weight.shape), requires_grad=False, has_fp16_weights=False
                )._quantize(device)
            else:
                _fill(module, drawn)
        _make_buffers(model, device)
    _check_quantised(model)
    keep_trainable(model)
    gc.collect()
    return model


def _check_quantised(model: nn.Module) -> None:
    """Raise RuntimeError where a layer that is to be quantised still has its numbers whole."""
    import bitsandbytes

    for name, module in model.named_modules():
        weight: Any = getattr(module, "weight", None)
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            done = weight.quant_state is not None and weight.numel() < (
                module.in_features * module.out_features
            )
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            done = weight.dtype == torch.int8 and weight.CB is not None and weight.SCB is not None
        else:
            continue
        if not done:
            raise RuntimeError(f"{name} is not quantised: its weight is {weight.dtype}.")


def _fill(module: nn.Module, drawn: Any) -> None:
    """Draw matrices; vectors are the weights of norms, and are one."""
    for name, parameter in module.named_parameters(recurse=False):
        numbers = drawn(parameter.shape)
        if parameter.ndim == 1:
            numbers.fill_(1.0)
        setattr(module, name, nn.Parameter(numbers, requires_grad=False))


def _make_buffers(model: nn.Module, device: torch.device) -> None:
    """Compute what no file holds: the frequencies of the rotary embedding."""
    for module in model.modules():
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):
            made: Any = type(module)
            for name, buffer in made(module.config).named_buffers(recurse=False):
                setattr(module, name, buffer.to(device))
