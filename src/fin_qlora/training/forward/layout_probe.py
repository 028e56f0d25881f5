"""Whether a model hands the layout of a folded batch down to its attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ...errors import UsageError
from .attention import MASK, Layout
from .folding import Node, Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Reached(Exception):
    """The layout came to the attention of the first layer: no more needs to be computed."""


class _Probe(Layout):
    def attend(self, *_: Any, **__: Any) -> torch.Tensor:
        raise _Reached

    @property
    def predicting(self) -> Layout:
        return self


def reaches_attention(model: PreTrainedModel) -> bool:
    """Return whether the attention of a model's first layer is given the layout.

    It computes two tokens as far as that. Where weights are not here, since they are sharded or
    have no values yet, it cannot, and returns True: the attention itself refuses a folded batch
    that comes without its layout.
    """
    if any(one.is_meta or hasattr(one, "ds_id") for one in model.parameters()):
        return True
    device = model.get_input_embeddings().weight.device
    kept = torch.tensor([[False, True]], device=device)
    layout = _Probe([Node(Run(0, 2), ())], places=torch.tensor([1], device=device))
    gpus = [device] if device.type == "cuda" else []
    try:
        # what is drawn for dropout is drawn again in training
        with torch.random.fork_rng(gpus):
            model(
                input_ids=torch.zeros(1, 2, dtype=torch.long, device=device),
                position_ids=torch.tensor([[0, 1]], device=device),
                attention_mask=torch.ones(MASK, dtype=torch.bool, device=device),
                folding=layout,
                logits_to_keep=kept,
                use_cache=False,
            )
    except _Reached:
        return True
    except (UsageError, TypeError):  # not told, or the model takes no such argument
        return False
    return False
