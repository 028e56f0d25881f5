"""The LoRA weights that a file holds: whether they fit a base, and putting them on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import (
    AdapterMismatchError,
    MissingFileError,
    NotFiniteError,
    RemoteCodeError,
    UsageError,
)
from .lora import WEIGHTS

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

CONFIG = "adapter_config.json"

#: Ways to begin a LoRA that move the base's own weights: it does not fit the base as it is.
_MOVE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")

#: Settings of an adapter that hold weights beside the A, B and magnitudes of its layers.
_FURTHER_WEIGHTS = ("modules_to_save", "trainable_token_indices", "layer_replication")

#: Settings under which PEFT's layers compute something else, also where they are ``{}``: aLoRA's
#: answer as the base does unless told of its tokens, KaSA's cut a piece off the base for good.
_OTHER_KINDS = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "target_parameters",
    "use_bdlora",
)


def read_config(folder: Path) -> dict[str, Any]:
    """Read ``adapter_config.json`` and refuse what is not a LoRA on an untouched base.

    Raises:
        MissingFileError: there is none, or it is not JSON.
        AdapterMismatchError: another kind of adapter, or one that holds more than LoRA weights.
        RemoteCodeError: it names a module that would be imported.
    """
    path = folder / CONFIG
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise MissingFileError(
            f"'{path}' is missing or no JSON object.", fix="Fetch the adapter again."
        ) from error
    odd = [f"{name}={config[name]!r}" for name in _FURTHER_WEIGHTS if config.get(name)]
    odd += [
        f"{name}={config[name]!r}" for name in _OTHER_KINDS if config.get(name) not in (None, False)
    ]
    if config.get("peft_type") != "LORA":
        odd.insert(0, f"peft_type={config.get('peft_type')!r}")
    begun = str(config.get("init_lora_weights")).lower()
    if begun.startswith(_MOVE_THE_BASE):
        odd.append(f"init_lora_weights={begun!r}")
    if config.get("bias", "none") != "none":
        odd.append(f"bias={config['bias']!r}")
    if odd:
        raise AdapterMismatchError(
            f"'{path}' is not a LoRA alone on a base as it is: {', '.join(odd)}.",
            fix="Load it with plain PEFT.",
        )
    if config.get("megatron_config"):
        raise RemoteCodeError(
            f"'{path}' has a megatron_config, by which PEFT imports the module "
            f"{config.get('megatron_core')!r}.",
            fix="Load adapters that need no code of others.",
        )
    return config


def stored_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read an adapter's tensors, on the CPU, and refuse those that cannot answer.

    Raises:
        MissingFileError: there is no safetensors file; one in pickle form is never opened.
        AdapterMismatchError: a tensor holds no 16- or 32-bit numbers, or every B matrix is zero,
            so that the output would be the base's.
        NotFiniteError: a tensor holds NaN or an infinity.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    if not path.is_file():
        raise MissingFileError(
            f"'{folder}' has no {WEIGHTS}.",
            fix="Weights in pickle form are not read; convert them to safetensors.",
        )
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise AdapterMismatchError(
            f"'{path}' cannot be read as safetensors: {error}.", fix="Fetch the adapter again."
        ) from error
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.bfloat16, torch.float16, torch.float32):
            raise AdapterMismatchError(
                f"The adapter's tensor '{name}' is of type {tensor.dtype}.",
                fix="Adapters are stored in bfloat16, float16 or float32.",
            )
        if not bool(torch.isfinite(tensor).all()):
            raise NotFiniteError(
                f"The adapter's tensor '{name}' holds NaN or an infinity.",
                fix="Its training diverged, or the file was damaged: fetch or train it again.",
            )
    if not any(bool(tensor.any()) for name, tensor in tensors.items() if "lora_B" in name):
        raise AdapterMismatchError(
            "The adapter changes nothing: every B matrix is zero.",
            fix="It was saved before it was trained; train again.",
        )
    return tensors


def check_fits(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse tensors that are missing, too many or of another shape than the base wants.

    Args:
        stored: name of each tensor of the file -> tensor.
        expected: name of each tensor that base and ``adapter_config.json`` call for -> tensor, or
            anything else with a ``shape``.

    Raises AdapterMismatchError, which names what differs.
    """
    missing = sorted(expected.keys() - stored.keys())
    extra = sorted(stored.keys() - expected.keys())
    shaped = [
        f"'{name}' is {tuple(stored[name].shape)} and not {tuple(expected[name].shape)}"
        for name in sorted(stored.keys() & expected.keys())
        if tuple(stored[name].shape) != tuple(expected[name].shape)
    ]
    findings = [
        f"{len(names)} {what} ('{names[0]}'{', …' if len(names) > 1 else ''})"
        for what, names in (("missing", missing), ("too many", extra))
        if names
    ]
    if shaped:
        findings.append(f"{len(shaped)} of another shape ({shaped[0]})")
    if findings:
        raise AdapterMismatchError(
            f"The adapter does not fit this base: of its tensors are {'; '.join(findings)}.",
            fix="Load it on the base that its adapter_config.json names; that file and "
            f"{WEIGHTS} must be of one training.",
        )


def attach(model: PreTrainedModel | PeftModel, folder: Path, *, name: str) -> PeftModel:
    """Put an adapter on a base, or beside those that are on it, and return the PEFT model.

    The tensors are checked before they are put in. Where they are refused, the model is as it was,
    unless it was a bare base.

    Args:
        name: what PEFT is to call it; no full stop in it.

    Raises MissingFileError, AdapterMismatchError, NotFiniteError, RemoteCodeError.
    """
    from peft import LoraConfig, PeftModel, PeftModelForCausalLM, get_peft_model_state_dict

    read_config(folder)
    tensors = stored_tensors(folder)
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = True
    # not by PEFT's low_cpu_mem_usage, which rounds DoRA's float32 magnitudes to the base's 16 bits
    try:
        if isinstance(model, PeftModel):
            peft = model
            peft.add_adapter(name, config)
        else:
            _unhook(model)
            peft = PeftModelForCausalLM(model, config, name)
    except ValueError as error:  # no module of such a name, a rank below 1
        raise AdapterMismatchError(
            f"The adapter does not fit this base: {error}.",
            fix="Load it on the base that its adapter_config.json names.",
        ) from error
    try:
        expected = get_peft_model_state_dict(
            peft, dict(peft.named_parameters()), adapter_name=name, save_embedding_layers=False
        )
        check_fits(tensors, expected)
        peft.load_adapter(str(folder), name)
    except BaseException:
        if peft is model:
            peft.delete_adapter(name)
        raise
    return peft


def _unhook(model: PreTrainedModel) -> None:
    """Take off what moves offloaded layers; PEFT puts it on again with the adapter in place."""
    places = set((getattr(model, "hf_device_map", None) or {}).values())
    if "disk" in places:
        raise UsageError(
            "The device map puts parts of the base on the disk, where no adapter can be added.",
            fix="Choose a device map that keeps it in memory, or load it quantised.",
        )
    if "cpu" in places:
        from accelerate.hooks import remove_hook_from_submodules

        remove_hook_from_submodules(model)
