"""What an adapter adds to each weight of its base: LoRA, rank-stabilised LoRA and DoRA."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import AdapterMismatchError

if TYPE_CHECKING:
    import torch

_PREFIX = "base_model.model."
_A, _B, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to one weight of shape (out, in).

    Args:
        a: (rank, in).
        b: (out, rank).
        scale: of their product: alpha / rank, or alpha / sqrt(rank) where it is rank-stabilised.
        magnitude: DoRA's length of each row, (out,), or None.
        transposed: the weight is stored as (in, out).
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None
    transposed: bool = False

    def applied_to(self, weight: torch.Tensor, *, name: str) -> torch.Tensor:
        """Return the changed weight in float32.

        Raises AdapterMismatchError when it has another shape, or holds no 16- or 32-bit numbers.
        """
        wanted = (self.b.shape[0], self.a.shape[1])
        if self.transposed:
            wanted = wanted[::-1]
        if tuple(weight.shape) != wanted or not weight.is_floating_point() or weight.itemsize < 2:
            raise AdapterMismatchError(
                f"The base's tensor '{name}' is {tuple(weight.shape)} of {weight.dtype}; the "
                f"adapter changes one of {wanted} in 16 or 32 bits.",
                fix="Merge into the 16-bit base that the adapter was trained on.",
            )
        changed = weight.float()
        if self.transposed:
            changed = changed.T
        changed = changed + self.scale * (self.b.float() @ self.a.float())
        if self.magnitude is not None:
            length = changed.norm(dim=1, keepdim=True)
            changed = changed * (self.magnitude.float()[:, None] / length)
        return changed.T.contiguous() if self.transposed else changed


def changes_of(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> dict[str, Change]:
    """Return name of each weight of the base -> what the adapter does to it.

    Args:
        config: what ``adapter_config.json`` says.
        tensors: those of ``adapter_model.safetensors``.

    Raises AdapterMismatchError when there is more than LoRA's matrices and DoRA's magnitudes.
    """
    modules = {name.removesuffix(_A) for name in tensors if name.endswith(_A)}
    known = {module + end for module in modules for end in (_A, _B, _MAGNITUDE)}
    odd = sorted(set(tensors) - known)
    odd += sorted({module + _B for module in modules} - set(tensors))
    special = [name for name in ("lora_bias", "use_qalora") if config.get(name)]
    if odd or special or not modules:
        raise AdapterMismatchError(
            f"The adapter cannot be merged: {(*special, *odd, 'no matrices')[0]!r} is not one of "
            "the A, B and magnitudes of linear layers.",
            fix="Serve base and adapter apart.",
        )
    return {
        module.removeprefix(_PREFIX) + ".weight": Change(
            a=tensors[module + _A],
            b=tensors[module + _B],
            scale=_scale(config, module.removeprefix(_PREFIX), rank=len(tensors[module + _A])),
            magnitude=tensors.get(module + _MAGNITUDE),
            transposed=bool(config.get("fan_in_fan_out")),
        )
        for module in sorted(modules)
    }


def _scale(config: Mapping[str, Any], module: str, *, rank: int) -> float:
    """Return what a layer's product is multiplied by. Raises AdapterMismatchError."""
    from peft.utils.other import get_pattern_key

    def setting(name: str, pattern: str) -> Any:
        special: Mapping[str, Any] = config.get(pattern) or {}
        return special.get(get_pattern_key(list(special), module), config[name])

    if setting("r", "rank_pattern") != rank:
        raise AdapterMismatchError(
            f"The adapter's matrices for '{module}' are of rank {rank}, its adapter_config.json "
            f"says {setting('r', 'rank_pattern')}.",
            fix="Fetch the adapter again; both files must be of one training.",
        )
    alpha = float(setting("lora_alpha", "alpha_pattern"))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
