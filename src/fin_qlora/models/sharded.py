"""A model whose base the processes share out: how it is told, asked, and rid of its adapter.

ZeRO stage 3 and FSDP leave each process a part of every weight, so each pass needs all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


def is_sharded(model: Any) -> bool:
    """Return whether no process holds the whole model."""
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
    from transformers.integrations import is_deepspeed_zero3_enabled

    if is_deepspeed_zero3_enabled():
        return True
    kinds = (FSDPModule, FullyShardedDataParallel)
    return any(isinstance(module, kinds) for module in getattr(model, "modules", tuple)())


@contextlib.contextmanager
def askable(model: Any) -> Iterator[None]:
    """Let parts of a model be called in the block, which FSDP expects of the whole one only.

    It gathers what belongs to no layer, such as the embeddings and the head; layers and ZeRO's
    modules gather their own. Every process must enter and leave.
    """
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def keep_adapter_whole(model: Any) -> None:
    """Give every process the whole of the trained weights that ZeRO stage 3 has shared out.

    The base stays shared out. Training cannot go on afterwards. Every process must call.
    """
    parts = [p for p in model.parameters() if p.requires_grad and hasattr(p, "ds_id")]
    if parts:
        parts[0].all_gather(param_list=parts)
    for part in parts:
        part.ds_persist = True  # else the next pass would share it out again


@contextlib.contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Let every process read the whole of the trained weights in the block; every one must call."""
    parts = [p for p in model.parameters() if p.requires_grad and hasattr(p, "ds_id")]
    if not parts:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(parts):
        yield


def whole(tensor: Any) -> Any:
    """Return a tensor that FSDP has shared out as one; every process must call."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
