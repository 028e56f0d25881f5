"""The settings of a run as its evidence tells them: whatever could change a result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum
from typing import Any

from ..evidence.command import published_command

#: Recorded elsewhere in the evidence, or of no consequence for a result.
_LEFT_OUT = frozenset(
    """
    accelerator_config data_dir deepspeed disable_tqdm dry_run gradient_checkpointing
    load_in_4bit load_in_8bit bnb_4bit_quant_type use_bnb_nested_quant local_rank logging_dir
    model_name_or_path model_revision output_dir report_to resume_from_checkpoint run_name task
    """.split()
)

#: Recorded also where they are the default: what a reader of the card asks for first.
_ALWAYS = frozenset(
    """
    form synthetic_seed lora_r lora_alpha lora_dropout lora_target_modules use_rslora use_dora
    learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm optim num_train_epochs
    max_steps per_device_train_batch_size gradient_accumulation_steps max_length adapter_dtype bf16
    """.split()
)


def configuration(settings: Any, training: Any, base: Any, *, quantization: str) -> dict[str, Any]:
    """Return every setting that is not the default, and the main ones, as JSON values.

    Secrets and the folders of this machine are left out; of DeepSpeed's configuration the content
    is recorded, not the name of its file.
    """
    found: dict[str, Any] = {"quantization": quantization, "world_size": training.world_size}
    for part in (settings, base, training):
        for one in fields(part):
            value = getattr(part, one.name, None)
            if one.name in _LEFT_OUT or not one.init or not published_command([f"--{one.name}"]):
                continue
            if one.name in _ALWAYS or not _is_default(one, value):
                found[one.name] = _published(one.name, value)
    found["lora_target_modules"] = (
        sorted(base.lora_target_modules)
        if isinstance(base.lora_target_modules, list)
        else base.lora_target_modules
    )
    if training.deepspeed is not None:
        found["deepspeed"] = _published("deepspeed", training.hf_deepspeed_config.config)
    return found


def _is_default(one: Field[Any], value: Any) -> bool:
    default = one.default
    if one.default_factory is not MISSING:
        default = one.default_factory()
    # transformers replaces "nothing" by other words for it
    return value == default or value in (None, "no", [], {})


def _published(name: str, value: Any) -> Any:
    """Return a value as JSON values, without secrets and without folders."""
    if isinstance(value, Enum):
        return _published(name, value.value)
    if isinstance(value, Mapping):
        return {
            str(key): _published(str(key), one)
            for key, one in value.items()
            if published_command([f"--{key}"])
        }
    if isinstance(value, list | tuple):
        return [_published(name, one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    if value is None or isinstance(value, bool | int | float):
        return value
    return published_command(["program", str(value)])[-1]
