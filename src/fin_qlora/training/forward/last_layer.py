"""The last layer, computed only where something is predicted.

A layer below needs its output at every token, since those above look back at it. Above the last
there is nothing but the head: its queries, its output projection and its MLP matter only at places
where a token is predicted. Keys and values are still computed everywhere.
"""

from __future__ import annotations

from typing import Any

import torch

from .attention import Layout

_HANDLES = "_fin_qlora_last_layer"
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


class LastLayer:
    """Makes one decoder layer leave out what a folded batch does not need of it.

    It acts on calls that carry a ``folding``, and on no other. What it leaves out is zero.

    Args:
        attention: the layer's attention, which is called with the folding, also when activation
            checkpointing calls it again.
        mlp: the layer's MLP, which is called after it.
    """

    def __init__(self, attention: torch.nn.Module, mlp: torch.nn.Module) -> None:
        parts: Any = attention
        for handle in getattr(attention, _HANDLES, ()):
            handle.remove()  # of an earlier trainer of this model
        self.places: torch.Tensor | None = None
        handles = [attention.register_forward_pre_hook(self._enter, with_kwargs=True)]
        for module in (parts.q_proj, parts.o_proj, mlp):
            handles += _OnlyAt(self, module).handles
        setattr(attention, _HANDLES, handles)

    @classmethod
    def of(cls, model: Any) -> LastLayer | None:
        """Return it for the last layer of a model, or None where the parts are not as expected."""
        text = model.config.get_text_config()
        if any(getattr(text, name, None) for name in _EXPERTS):
            return None
        layers = getattr(model.get_decoder(), "layers", None)
        layer = layers[-1] if layers else None
        attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
        parts = (
            getattr(layer, "post_attention_layernorm", None),  # one after the other, not abreast
            getattr(attention, "q_proj", None),
            getattr(attention, "o_proj", None),
            mlp,
        )
        if not all(isinstance(part, torch.nn.Module) for part in parts):
            return None
        return cls(attention, mlp)  # type: ignore[arg-type]

    def _enter(
        self, attention: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        folding = options.get("folding")
        self.places = None
        if isinstance(folding, Layout):
            self.places = folding.places
            options = {**options, "folding": folding.predicting}
        return args, options


class _OnlyAt:
    """Gives a module only the tokens that count, and puts its output where they were."""

    def __init__(self, layer: LastLayer, module: torch.nn.Module) -> None:
        self._layer = layer
        self._tokens = 0
        self.handles = (
            module.register_forward_pre_hook(self._pick),
            module.register_forward_hook(self._put),
        )

    def _pick(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> Any:
        places = self._layer.places
        if places is None:
            return None
        states, *rest = args
        self._tokens = states.shape[1]
        return (states.index_select(1, places), *rest)

    def _put(self, module: torch.nn.Module, args: Any, output: torch.Tensor) -> Any:
        places = self._layer.places
        if places is None:
            return None
        whole = output.new_zeros(output.shape[0], self._tokens, *output.shape[2:])
        return whole.index_copy(1, places, output)
