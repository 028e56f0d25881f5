"""The LoRA weights of a model in training: what they are stored as."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .sharded import gathered, whole

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

WEIGHTS = "adapter_model.safetensors"


def trainable_parameters(model: PeftModel) -> int:
    """Return how many numbers are trained."""
    # a parameter that ZeRO-3 shares out is empty in between, and says how many numbers it has
    return sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters() if p.requires_grad)


def in_stored_precision(model: PeftModel) -> None:
    """Round the trained weights to the precision of the file and keep them as float32.

    PEFT computes with a float32 copy of what the file holds: after this the model in memory gives
    the very logits that the published file will give.
    """
    import torch

    for name, parameter in model.named_parameters():
        # a shard of FSDP's is of one type with its layer: the adapter is trained as it is stored
        if parameter.requires_grad and not hasattr(parameter, "full_tensor"):
            parameter.data = parameter.data.to(stored_dtype(name)).to(torch.float32)


def stored_dtype(name: str) -> torch.dtype:
    """Return the type in which the tensor of that name is written.

    DoRA's magnitudes stay float32: rounding one to bfloat16 scales a whole row of the base's
    weights, by more than training moves it, and there is only one number a row.
    """
    import torch

    return torch.float32 if "lora_magnitude_vector" in name else torch.bfloat16


def stored_weights(model: PeftModel) -> dict[str, torch.Tensor]:
    """Return the adapter's weights, whole, as they are stored; every process of a run must call."""
    from peft import get_peft_model_state_dict

    with gathered(model):
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        return {
            name: whole(tensor.detach()).to("cpu", stored_dtype(name), copy=True).contiguous()
            for name, tensor in state.items()
        }


def save_weights(
    model: PeftModel, folder: Path, *, state: dict[str, torch.Tensor] | None = None
) -> None:
    """Write adapter_config.json and the adapter's weights, as safetensors in ``stored_dtype``.

    Args:
        state: the ``stored_weights``, where one process alone writes.
    """
    # "auto" would ask the hub for the base's configuration
    model.save_pretrained(
        folder,
        state_dict=stored_weights(model) if state is None else state,
        save_embedding_layers=False,
    )
