"""Loading a base model in 4-bit, 8-bit or 16-bit, with the traps of that closed."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..errors import (
    ContractError,
    MissingDependencyError,
    MissingFileError,
    UnknownNameError,
)
from ..files import sha256_bytes
from .digests import digest_of
from .repository import fetch
from .tiny import TINY_ID, tiny_base_path

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: 4bit is NF4 with double quantisation; the others say what they do differently.
Quantization = Literal["4bit", "4bit-single", "4bit-fp4", "4bit-fp4-single", "8bit", "none"]

#: What may hold 4-bit numbers.
QUANT_STORAGES = ("uint8", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class BaseIdentity:
    """Which base it is: hub id, commit, and the digest of its weight files (None: not at hand)."""

    id: str
    revision: str | None
    digest: str | None

    def to_dict(self) -> dict[str, str | None]:
        """Return plain JSON values."""
        return {"id": self.id, "revision": self.revision, "digest": self.digest}


def locate_base(
    name: str, *, revision: str | None = None, weights: bool = True, again: bool = False
) -> tuple[Path, BaseIdentity]:
    """Return the folder of a base model and its identity.

    ``name`` is a folder, the id of the embedded tiny base, or a repository on the hub that
    ``HF_ENDPOINT`` names, which is downloaded (or taken from the cache) at ``revision``.

    Args:
        weights: False where tokenizer and config.json are enough: no weights are downloaded, and
            the digest is None where none are there.
        again: read every weight file for its digest, whatever is remembered of it.

    Raises:
        MissingFileError: no such folder, or it has no weights.
        HubNotFoundError, HubRefusedError, HubUnreachableError: the hub did not give it.
    """
    if name == TINY_ID:
        folder, commit = tiny_base_path(), None
    else:
        folder, commit = fetch(name, revision=revision, needs="config.json", weights=weights)
    there = weights or any(folder.glob("*.safetensors"))
    digest = weights_digest(folder, again=again) if there else None
    return folder, BaseIdentity(id=name, revision=commit, digest=digest)


def weights_digest(folder: Path, *, again: bool = False) -> str:
    """Return one SHA-256 over the names and contents of a model's weight files.

    Files that were not touched since they were last read are not read again, unless ``again``.

    Raises MissingFileError when the folder holds no safetensors weights.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        raise MissingFileError(
            f"'{folder}' holds no model: config.json and *.safetensors are needed.",
            fix="Weights in pickle form are not read; convert them to safetensors.",
        )
    lines = [f"{file.name} {digest_of(file, again=again)}" for file in weights]
    return sha256_bytes("\n".join(lines).encode())


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer and make sure that padding cannot be mistaken for an end token.

    Raises ContractError when the tokenizer has no padding token that is distinct.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    ends = {tokenizer.eos_token_id}
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id in ends:
        reserved = [
            token
            for token in ("<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<pad>")
            if token in tokenizer.get_vocab()
        ]
        if not reserved:
            raise ContractError(
                "The tokenizer has no padding token that differs from its end token.",
                fix="Add one to the tokenizer, e.g. '<|finetune_right_pad_id|>'.",
            )
        tokenizer.pad_token = reserved[0]
    tokenizer.padding_side = "right"
    return tokenizer


def load_model(
    folder: Path,
    *,
    quantization: Quantization,
    device: torch.device | None = None,
    quant_storage: str | None = None,
    sharded: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Load the base in bfloat16, or quantised to 4 or 8 bits.

    It goes to ``device``, or without one to this process's GPU, if there is any.

    Args:
        quant_storage: type of the tensors that hold 4-bit numbers, ``uint8`` or ``bfloat16``; the
            numbers are the same. FSDP shards tensors of one type only; None means ``bfloat16``
            where the base is sharded, else ``uint8``.
        sharded: whether FSDP or ZeRO stage 3 will put the base where it belongs.

    On a CPU the 4-bit layers are kept from repacking themselves for inference: with AVX512-BF16
    that would stop gradients after the first evaluation without a word (bitsandbytes 0.50).
    """
    import torch
    from transformers import AutoModelForCausalLM

    storage = quant_storage or ("bfloat16" if sharded else "uint8")
    config = quantization_config(quantization, storage=storage)
    if config is not None:
        options["quantization_config"] = config
    if torch.cuda.is_available() and not sharded:
        place = torch.cuda.current_device() if device is None else device
        options.setdefault("device_map", {"": place})
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, trust_remote_code=False, **options
    )
    keep_trainable(model)
    return model


def quantization_config(quantization: Quantization, *, storage: str = "uint8") -> Any:
    """Return the bitsandbytes configuration of a quantisation, or None for 16-bit.

    Raises:
        UnknownNameError: there is no such quantisation, or 4-bit numbers are not held so.
        MissingDependencyError: bitsandbytes is not installed.
    """
    if storage not in QUANT_STORAGES:
        raise UnknownNameError("storage of 4-bit weights", storage, QUANT_STORAGES)
    if quantization == "none":
        return None
    if quantization not in get_args(Quantization):
        raise UnknownNameError("quantization", quantization, get_args(Quantization))
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependencyError(
            "bitsandbytes is not installed.", fix="Install it, or use quantization 'none'."
        )
    import torch
    from transformers import BitsAndBytesConfig

    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="fp4" if "fp4" in quantization else "nf4",
        bnb_4bit_use_double_quant="single" not in quantization,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_storage=storage,
    )


def keep_trainable(model: Any) -> None:
    """Close the traps of bitsandbytes' layers under training; calling it again changes nothing.

    - 4-bit layers stay in the layout that has gradients. With AVX512-BF16 the first evaluation
      would repack them, and gradients would be zero from then on.
    - 8-bit layers keep no copy of their input, which only a trained weight would need. It outlives
      even the checkpointing of activations.
    - 8-bit layers on a processor find their scales again after DoRA has read the weight; PEFT
      leaves them without, and the second step fails.
    - 8-bit layers do not log each call.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt) and not hasattr(module, _GUARDED):
            module.register_forward_pre_hook(_find_scales)
            module.register_forward_hook(_forget_input)
            setattr(module, _GUARDED, True)
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    logging.getLogger("bitsandbytes.cextension").setLevel(logging.ERROR)


_GUARDED = "_fin_qlora_guarded"


def _find_scales(module: Any, _inputs: Any) -> None:
    weight = module.weight
    if weight.CB is not None and weight.SCB is None:
        weight.SCB = module.state.SCB


def _forget_input(module: Any, _inputs: Any, output: torch.Tensor) -> None:
    """Drop the input that bitsandbytes keeps in the node of the graph (MatMul8bitLt, …Fp)."""
    node: Any = output.grad_fn
    if node is None or module.weight.requires_grad:
        return
    if hasattr(node, "tensors"):
        node.tensors = (None, None, None)
    if hasattr(node, "A"):
        node.A = None
