"""The last layer, computed only where something is predicted.

Above the last layer there is nothing but the head, so its output projection and its MLP matter only
where a label's token is predicted. Keys and values are still computed everywhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class LastLayer:
    """The parts of a model's last layer that can be left out at most columns.

    ``picked`` are the columns (rows, places) of the next pass that count; what is left out is zero.
    """

    def __init__(self, causal: Any) -> None:
        self.picked: torch.Tensor | None = None
        self._parts = _parts(causal)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Act on passes in the block. Where the parts are not as expected, nothing is left out."""
        handles = []
        for part in self._parts:
            cut = _Cut(self)
            handles += [
                part.register_forward_pre_hook(cut.pick),
                part.register_forward_hook(cut.put),
            ]
        try:
            yield
        finally:
            self.picked = None
            for handle in handles:
                handle.remove()


def _parts(causal: Any) -> tuple[torch.nn.Module, ...]:
    """Return the output projection and the MLP of the last layer, or none."""
    if any(getattr(causal.config, name, None) for name in _EXPERTS):
        return ()
    layers = getattr(causal.get_decoder(), "layers", None)
    layer = layers[-1] if layers else None
    parts: tuple[Any, ...] = (
        getattr(getattr(layer, "self_attn", None), "o_proj", None),
        getattr(layer, "mlp", None),
    )
    # one after the other, not abreast
    norm = getattr(layer, "post_attention_layernorm", None)
    return parts if all(isinstance(part, torch.nn.Module) for part in (norm, *parts)) else ()


class _Cut:
    """Gives a module only the columns that count, and puts its output where they were."""

    def __init__(self, layer: LastLayer) -> None:
        self._layer = layer
        self._shape: tuple[int, int] = (0, 0)

    def _places(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor] | None:
        picked = self._layer.picked
        if picked is None:
            return None
        return torch.arange(len(picked), device=device)[:, None], picked.to(device)

    def pick(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> Any:
        states, *rest = args
        places = self._places(states.device)
        if places is None:
            return None
        self._shape = (states.shape[0], states.shape[1])
        return (states[places], *rest)

    def put(self, module: torch.nn.Module, args: Any, output: torch.Tensor) -> Any:
        places = self._places(output.device)
        if places is None:
            return None
        whole = output.new_zeros(*self._shape, output.shape[-1])
        whole[places] = output
        return whole
