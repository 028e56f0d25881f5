"""How many bytes a training step holds besides weights and optimizer, without running it.

The model's own code, PEFT's layers and the backward pass run over tensors that have a shape and no
numbers. What is alive at once is counted. Layers are alike, so few of them are run and the rest is
multiplied out.
"""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface

from .architecture import skeleton
from .base import Quantization
from .memory import with_adapter

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PretrainedConfig

#: From logits (predictions, vocabulary) and targets (predictions,) to losses.
Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Layers that are run; two numbers give the line on which all others lie.
_FEW, _MORE = 3, 5
#: The name under which transformers knows the attention of ``_attend``.
_ATTENTION = "fin_qlora_without_numbers"


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that were made while it was on, and the most at once.

    Works for real tensors and for those without numbers. ``now`` and ``peak`` are in bytes;
    storages that ``known`` modules hold are left out.
    """

    def __init__(self, *known: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._alive: dict[int, int] = {
            tensor.untyped_storage()._cdata: 0 for module in known for tensor in _tensors(module)
        }

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._alive:
            return
        self._alive[storage._cdata] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage._cdata)

    def _forget(self, key: int) -> None:
        self.now -= self._alive.pop(key, 0)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    for tensor in (*module.parameters(), *module.buffers()):
        yield tensor
        if tensor.grad is not None:
            yield tensor.grad


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """What a micro batch takes above weights, adapter, its gradients and the optimizer, in bytes.

    Attributes:
        kept: what is held when the forward pass has ended.
        peak: the most that is held at once, backward pass included.
    """

    kept: int
    peak: int


def step_memory(
    config: PretrainedConfig,
    *,
    quantization: Quantization,
    adapter: PeftConfig,
    adapter_dtype: torch.dtype,
    rows: int,
    length: int,
    trained: int,
    checkpointing: bool = False,
    autocast: bool = True,
    seen: int | None = None,
    eager: bool = False,
    on_gpu: bool = True,
    losses: Losses | None = None,
    around: Callable[[nn.Module], AbstractContextManager[None]] | None = None,
) -> StepMemory:
    """Return what one micro batch of ``rows`` by ``length`` tokens takes.

    Args:
        trained: positions at which the head runs, in each row.
        checkpointing: whether activations are recomputed layer by layer.
        autocast: whether the step runs under bfloat16 autocast.
        seen: keys and values that attention copies together, in tokens, where what rows share
            is there once; None where it reads them in place.
        eager: whether attention keeps its matrix of scores; else it is a kernel that keeps none.
        on_gpu: dropout keeps less on a GPU than on a processor.
        losses: makes losses of logits (predictions, vocabulary) and targets (predictions,);
            cross-entropy in float32 where it is None.
        around: what the trainer puts around a step, given the model.

    Not counted: what a kernel takes for itself inside one call, and fragmentation.
    """
    runs = {}
    for layers in (_FEW, _MORE):
        with _without_numbers(
            _with_layers(config, layers),
            quantization=quantization,
            adapter=adapter,
            dtype=adapter_dtype,
            eager=eager,
            on_gpu=on_gpu,
        ) as model:
            if checkpointing:
                inside = model.get_base_model()
                inside.enable_input_require_grads()
                inside.activation_checkpointing_enable({"use_reentrant": False})
            ids = torch.zeros(rows, length, dtype=torch.long)
            columns = torch.zeros(trained, dtype=torch.long)

            def loss(
                model: nn.Module = model, ids: Any = ids, columns: Any = columns
            ) -> torch.Tensor:
                outputs = model(input_ids=ids, use_cache=False, logits_to_keep=columns, seen=seen)
                return (losses or cross_entropy)(
                    outputs.logits.flatten(0, 1), ids[:, :trained].flatten()
                ).sum()

            with contextlib.nullcontext() if around is None else around(model):
                runs[layers] = measured_step(model, loss, autocast=autocast)

    def at(few: int, more: int) -> int:
        return few + (more - few) * (config.num_hidden_layers - _FEW) // (_MORE - _FEW)

    few, more = runs[_FEW], runs[_MORE]
    return StepMemory(kept=at(few.kept, more.kept), peak=at(few.peak, more.peak))


def reading_memory(
    config: PretrainedConfig,
    *,
    quantization: Quantization,
    adapter: PeftConfig,
    rows: int,
    length: int,
    predictions: int,
    eager: bool = False,
) -> int:
    """Return the most bytes at once of a forward pass that keeps nothing for a backward one.

    One layer's activations are there at a time, so it takes no more with more layers. Keys and
    values that are kept for the next tokens come on top (``cache_memory``).

    Args:
        predictions: positions of each row at which the likelihood of all tokens is computed.
    """
    with _without_numbers(
        _with_layers(config, _FEW),
        quantization=quantization,
        adapter=adapter,
        dtype=torch.bfloat16,
        eager=eager,
        on_gpu=False,
    ) as model:
        model.eval()
        ids = torch.zeros(rows, length, dtype=torch.long)
        columns = torch.zeros(predictions, dtype=torch.long)
        with torch.no_grad(), LiveBytes(model) as live:
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=columns).logits
            logits.float().log_softmax(-1)
    return live.peak


def _with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    smaller = copy.deepcopy(config)
    smaller.num_hidden_layers = layers
    if getattr(smaller, "layer_types", None):
        smaller.layer_types = smaller.layer_types[:layers]
    return smaller


def measured_step(
    model: nn.Module, loss: Callable[[], torch.Tensor], *, autocast: bool
) -> StepMemory:
    """Run forward and backward pass of ``loss`` and return what they held; gradients exist before.

    Also for a real model on a processor. Every trained parameter is given a gradient first, as it
    has from the second micro batch on.
    """
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    with LiveBytes(model) as live:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss()
        kept = live.now
        value.backward()
    return StepMemory(kept=kept, peak=live.peak)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the loss of each prediction, computed in float32."""
    return -logits.float().log_softmax(-1).gather(-1, targets[:, None])


@contextlib.contextmanager
def _without_numbers(
    config: PretrainedConfig,
    *,
    quantization: Quantization,
    adapter: PeftConfig,
    dtype: torch.dtype,
    eager: bool,
    on_gpu: bool,
) -> Iterator[Any]:
    """Give a model in training mode whose tensors have shapes and no numbers."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    if not eager:
        AttentionInterface.register(_ATTENTION, _attend)  # without a mask of its own: none is made
    model = skeleton(config, attn_implementation="eager" if eager else _ATTENTION)
    if quantization != "none":
        _stand_in(model, like=skeleton(config, quantization=quantization))
    tuned = with_adapter(model, adapter)
    if on_gpu:
        for name, module in list(tuned.named_modules()):
            if isinstance(module, nn.Dropout):
                tuned.set_submodule(name, _GpuDropout(module.p))
    with FakeTensorMode():
        for module in tuned.modules():
            for name, parameter in module.named_parameters(recurse=False):
                kept = parameter.dtype
                if parameter.requires_grad and "magnitude" not in name:
                    kept = dtype
                shell = nn.Parameter(
                    torch.empty(parameter.shape, dtype=kept), requires_grad=parameter.requires_grad
                )
                setattr(module, name, shell)
            for name, buffer in module.named_buffers(recurse=False):
                setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))
        yield tuned.train()


def _stand_in(model: nn.Module, *, like: nn.Module) -> None:
    """Let the layers that are quantised in ``like`` hold and make what bitsandbytes' do."""
    import bitsandbytes

    for name, module in like.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit | bitsandbytes.nn.Linear8bitLt):
            layer: Any = model.get_submodule(name)
            layer.forward = _Quantised(layer.weight)


class _Quantised:
    """The forward pass of a layer whose weight is unpacked for one product and dropped again."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._shape = weight.shape

    def __call__(self, x: torch.Tensor) -> Any:
        return _UnpackedProduct.apply(  # type: ignore[no-untyped-call]
            x.to(torch.bfloat16), self._shape
        )


class _UnpackedProduct(torch.autograd.Function):
    """As bitsandbytes' MatMul4Bit and MatMul8bitLt, which keep nothing (see ``keep_trainable``)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        ctx.shape = shape
        return x @ x.new_empty(shape).t()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        return gradient @ gradient.new_empty(ctx.shape), None


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    seen: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally, by a kernel that keeps no scores; shapes as transformers has them."""
    if seen is None:
        result = scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return result.transpose(1, 2).contiguous(), None
    copied = _CopyingAttention.apply(query, key, value, seen)  # type: ignore[no-untyped-call]
    return copied, None


class _CopyingAttention(torch.autograd.Function):
    """FlashAttention over sequences of unequal length, each with copies of what is before it."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: int
    ) -> torch.Tensor:
        shape = (*key.shape[:2], seen, key.shape[3])
        queries = query.transpose(1, 2).contiguous()
        keys, values = key.new_empty(shape), value.new_empty(shape)
        result = torch.empty_like(queries)
        sums = query.new_empty(query.shape[:3], dtype=torch.float32)
        ctx.save_for_backward(queries, keys, values, result, sums)
        ctx.tokens = key.shape[2]
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        queries, keys, values, _, _ = ctx.saved_tensors
        own = torch.empty_like(queries).transpose(1, 2)
        copies = torch.empty_like(keys), torch.empty_like(values)
        shape = (*keys.shape[:2], ctx.tokens, keys.shape[3])
        return own, *(copied.new_empty(shape) for copied in copies), None


class _GpuDropout(nn.Dropout):
    """Dropout that keeps one byte for each number, as the GPU's does, not the number's own type."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        return torch.native_dropout(input, self.p, train=True)[0] if self.p else input
