"""Attention over a folded batch: every node sees its ancestors, and itself causally.

Three ways to the same numbers, by what is fastest where:

- on a GPU with half-precision numbers: FlashAttention over sequences of unequal length, one for
  each node;
- short nodes elsewhere: all at once, padded to the longest of those that share their ancestors, as
  two matrix products;
- long nodes elsewhere: one by one through torch's own kernels, in blocks, so that what is masked
  is hardly computed.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from ...errors import UsageError
from .folding import Node, Run, rounded

NAME = "fin_qlora_folded"
#: Shape of the mask that comes with a layout, which says all that a mask says.
MASK = (1, 1, 1, 1)

logger = logging.getLogger(__name__)

#: FlashAttention has kernels for states up to this width.
WIDEST = 256
#: Up to so many scores a head, a node is computed together with others, padded.
SMALL = 2**17
#: Queries of a long node that has ancestors, at a time.
BLOCK = 256
#: Up to so many scores a head, queries are picked from the sequence under a mask.
PICKED = 2**20


class Layout:
    """Where the nodes of a folded batch are, and all indices that attention needs.

    Made once for a batch and read by every layer. ``places`` are those where something is
    predicted. With ``only``, attention is computed there alone and is zero elsewhere.

    No dataclass: wrappers of models look into those, and copy what is in them.
    """

    def __init__(self, nodes: Sequence[Node], *, places: torch.Tensor, only: bool = False) -> None:
        self.nodes = tuple(nodes)
        self.places = places
        self.device = places.device
        self.tokens = sum(node.run.length for node in nodes)
        self._only = only and len(places) * self.tokens <= PICKED

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float
    ) -> torch.Tensor:
        """Return the attention's output.

        Args:
            query: (1, heads, tokens, width).
            key: (1, key heads, tokens, width); heads is a multiple of key heads.
            value: (1, key heads, tokens, value width).
            scale: what scores are multiplied with.

        Returns:
            (1, tokens, heads, value width).
        """
        if self._only:
            return self._picked(query, key, value, scale=scale)
        alike = query.shape[-1] == value.shape[-1] <= WIDEST
        if alike and _flash(query.device, query.dtype):
            return self._unequal(query[0], key[0], value[0], scale=scale)
        pieces = [
            self._together(group, query[0], key[0], value[0], scale=scale) for group in self._small
        ]
        pieces += [self._alone(node, query, key, value, scale=scale) for node in self._long]
        joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces, 1)
        return joined.index_select(1, self._back).transpose(0, 1)[None]

    @cached_property
    def predicting(self) -> Layout:
        """The layout of a layer whose output is needed at ``places`` only."""
        return Layout(self.nodes, places=self.places, only=True)

    # Short nodes: padded, those with the same ancestors at once.

    @cached_property
    def _small(self) -> list[_Group]:
        by_path: dict[tuple[Run, ...], list[Node]] = defaultdict(list)
        for node in self.nodes:
            if _small(node):
                by_path[node.path].append(node)
        return [_Group(nodes, self.device) for nodes in by_path.values()]

    def _together(
        self,
        group: _Group,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
    ) -> torch.Tensor:
        heads, _, width = query.shape
        key_heads = key.shape[0]
        rows, longest = group.own.shape
        shared = heads // key_heads
        own = group.own.flatten()
        queries = (query.index_select(1, own) * scale).view(key_heads, shared, rows, longest, width)
        queries = queries.permute(2, 0, 1, 3, 4).reshape(rows, key_heads, shared * longest, width)

        def before_and_own(states: torch.Tensor) -> torch.Tensor:
            mine = states.index_select(1, own).view(key_heads, rows, longest, -1).transpose(0, 1)
            if not len(group.before):
                return mine
            before = states.index_select(1, group.before).expand(rows, -1, -1, -1)
            return torch.cat([before, mine], 2)

        scores = queries @ before_and_own(key).transpose(2, 3)
        seen = scores.shape[-1]
        scores = scores.view(rows, key_heads, shared, longest, seen) + group.mask.to(scores.dtype)
        weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
        weights = weights.view(rows, key_heads, shared * longest, seen)
        result = (weights @ before_and_own(value)).view(rows, key_heads, shared, longest, -1)
        return result.permute(1, 2, 0, 3, 4).reshape(heads, rows * longest, -1)

    # Long nodes: one by one.

    @cached_property
    def _long(self) -> list[Node]:
        return [node for node in self.nodes if not _small(node)]

    def _alone(
        self,
        node: Node,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: float,
    ) -> torch.Tensor:
        queries = _cut(query, node.run)
        runs = _merged((*node.path, node.run))
        repeats = query.shape[1] // key.shape[1]
        keys, values = (
            torch.cat([_cut(states, run) for run in runs], 2).repeat_interleave(repeats, 1)
            for states in (key, value)
        )
        if not node.path:
            return scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scale)[
                0
            ]
        before, blocks = node.depth, []
        for start in range(0, node.run.length, BLOCK):
            stop = min(start + BLOCK, node.run.length)
            mask = torch.ones(
                stop - start, before + stop, dtype=torch.bool, device=query.device
            ).tril(before + start)
            blocks.append(
                scaled_dot_product_attention(
                    queries[:, :, start:stop],
                    keys[:, :, : before + stop],
                    values[:, :, : before + stop],
                    attn_mask=mask,
                    scale=scale,
                )
            )
        return torch.cat(blocks, 2)[0]

    @cached_property
    def _back(self) -> torch.Tensor:
        """Where each token of the sequence is in the pieces, laid end to end."""
        back = torch.empty(self.tokens, dtype=torch.long)
        done = 0
        for group in self._small:
            for row, node in enumerate(group.nodes):
                first = done + row * group.own.shape[1]
                _assign(back, node.run, first)
            done += group.own.numel()
        for node in self._long:
            _assign(back, node.run, done)
            done += node.run.length
        return back.to(self.device)

    # On a GPU: all nodes at once, each with copies of what is before it.

    @cached_property
    def _sequences(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int, int]:
        seen = [torch.cat([_places(run) for run in (*node.path, node.run)]) for node in self.nodes]
        lengths = [node.run.length for node in self.nodes]
        return (
            torch.cat(seen).to(self.device),
            _ends(lengths).to(self.device),
            _ends([len(places) for places in seen]).to(self.device),
            max(lengths),
            max(map(len, seen)),
        )

    def _unequal(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float
    ) -> torch.Tensor:
        seen, query_ends, key_ends, longest_query, longest_key = self._sequences
        return _varlen(
            query.transpose(0, 1).contiguous(),
            key.transpose(0, 1).index_select(0, seen),
            value.transpose(0, 1).index_select(0, seen),
            ends=(query_ends, key_ends),
            longest=(longest_query, longest_key),
            scale=scale,
        )[None]

    # The last layer: few queries over the whole sequence.

    @cached_property
    def _visible(self) -> torch.Tensor:
        """What each of the places sees: (places, tokens)."""
        places = self.places.cpu()
        visible = torch.zeros(len(places), self.tokens, dtype=torch.bool)
        for node in self.nodes:
            start, stop = node.run.start, node.run.start + node.run.length
            (inside,) = torch.nonzero((places >= start) & (places < stop), as_tuple=True)
            if not len(inside):
                continue
            for run in node.path:
                visible[inside, run.start : run.start + run.length] = True
            visible[inside, start:stop] = places[inside, None] >= torch.arange(start, stop)
        return visible.to(self.device)

    def _picked(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float
    ) -> torch.Tensor:
        places = self.places
        heads, width = query.shape[1], query.shape[3]
        key_heads = key.shape[1]
        shared, count = heads // key_heads, len(places)
        queries = (query[0].index_select(1, places) * scale).view(key_heads, shared * count, width)
        scores = (queries @ key[0].transpose(1, 2)).view(key_heads, shared, count, -1)
        scores = scores.masked_fill(~self._visible, -math.inf)
        weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
        result = weights.view(key_heads, shared * count, self.tokens) @ value[0]
        result = result.view(heads, count, value.shape[-1])
        whole = result.new_zeros(heads, self.tokens, value.shape[-1])
        return whole.index_copy(1, places, result).transpose(0, 1)[None]


class _Group:
    """Short nodes with the same ancestors, padded to the longest of them."""

    def __init__(self, nodes: list[Node], device: torch.device) -> None:
        self.nodes = nodes
        longest = rounded(max(node.run.length for node in nodes))
        step = torch.arange(longest)
        last = torch.tensor([node.run.length - 1 for node in nodes])[:, None]
        starts = torch.tensor([node.run.start for node in nodes])[:, None]
        #: (nodes, longest); what is past a node's end repeats its last token, and goes nowhere
        self.own = (starts + torch.minimum(step, last)).to(device)
        path = nodes[0].path
        before = torch.cat([_places(run) for run in path]) if path else torch.empty(0).long()
        self.before = before.to(device)
        causal = torch.full((longest, longest), -math.inf).triu(1)
        self.mask = torch.cat([torch.zeros(longest, len(before)), causal], 1).to(device)


def folded_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    folding: Layout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend as a folded batch asks, or without one exactly as transformers' ``sdpa`` does.

    Raises UsageError when a folded batch comes without its layout, or with attention dropout.
    """
    if folding is None:
        if attention_mask is not None and attention_mask.shape == MASK and query.shape[2] > 1:
            raise UsageError(
                f"{type(module).__name__} was not told which tokens of a folded batch see which.",
                fix="Set share_prefix to false.",
            )
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **options,
        )
    if dropout:
        raise UsageError(
            f"{type(module).__name__} drops attention weights, which folded batches do not.",
            fix="Set share_prefix to false, or the base's attention dropout to 0.",
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return folding.attend(query, key, value, scale=scale), None


def register() -> None:
    """Make the attention known to transformers under ``NAME``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, folded_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    ends: tuple[torch.Tensor, torch.Tensor],
    longest: tuple[int, int],
    scale: float,
) -> torch.Tensor:
    """Attend causally within sequences of unequal length, as this version of torch offers it.

    Where a sequence has fewer queries than keys, the last of both stand side by side.

    Args:
        query: (queries, heads, width).
        key, value: (keys, key heads, width); heads is a multiple of key heads.
        ends: where each sequence ends in queries and in keys, int32, 0 first.
        longest: the most queries and keys of a sequence.
        scale: what scores are multiplied with.
    """
    from torch.nn.attention.varlen import varlen_attn

    known = _varlen_options()
    options: dict[str, Any] = {}
    if "scale" in known:
        options["scale"] = scale
    else:
        query = query * (scale * query.shape[-1] ** 0.5)
    if "window_size" in known:
        options["window_size"] = (-1, 0)
    else:
        options["is_causal"] = True
    if "enable_gqa" in known:
        options["enable_gqa"] = True
    else:
        repeats = query.shape[1] // key.shape[1]
        key, value = (states.repeat_interleave(repeats, 1) for states in (key, value))
    return torch.as_tensor(varlen_attn(query, key, value, *ends, *longest, **options))


@cache
def _varlen_options() -> frozenset[str]:
    from torch.nn.attention.varlen import varlen_attn

    return frozenset(inspect.signature(varlen_attn).parameters)


@cache
def _flash(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether FlashAttention over unequal sequences runs there, forward and backward."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    return _runs(device, dtype)


def _runs(device: torch.device, dtype: torch.dtype) -> bool:
    """Try it on a few numbers: what it takes has changed from one version to the next."""
    try:
        with (
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
            # what the trial saves is no part of a layer whose activations are recomputed
            torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept),
        ):
            query, key = (
                torch.ones(4, heads, 16, device=device, dtype=dtype, requires_grad=True)
                for heads in (2, 1)
            )
            ends = torch.tensor([0, 1, 4], dtype=torch.int32, device=device)
            out = _varlen(query, key, key, ends=(ends, ends), longest=(3, 3), scale=1.0)
            torch.autograd.grad(out.sum(), (query, key))
    except (ImportError, TypeError, ValueError, NotImplementedError, RuntimeError) as problem:
        logger.warning("Attention takes the slower way: %s", problem)
        return False
    return True


def _small(node: Node) -> bool:
    return node.run.length * (node.depth + node.run.length) <= SMALL


def _cut(states: torch.Tensor, run: Run) -> torch.Tensor:
    return states[:, :, run.start : run.start + run.length]


def _places(run: Run) -> torch.Tensor:
    return torch.arange(run.start, run.start + run.length)


def _assign(back: torch.Tensor, run: Run, first: int) -> None:
    back[run.start : run.start + run.length] = torch.arange(first, first + run.length)


def _ends(lengths: Sequence[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def _merged(runs: Sequence[Run]) -> list[Run]:
    """Return the runs, those that follow one another as one."""
    merged = [runs[0]]
    for run in runs[1:]:
        last = merged[-1]
        if last.start + last.length == run.start:
            merged[-1] = Run(last.start, last.length + run.length)
        else:
            merged.append(run)
    return merged
