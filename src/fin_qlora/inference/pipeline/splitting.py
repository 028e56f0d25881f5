"""Where a base is cut into stages, so that the largest of them is as small as can be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...models.architecture import skeleton
from ...models.base import Quantization
from ...models.memory import linear_bytes
from ...models.stage import Span, check_llama_like

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class ModuleBytes:
    """What the parts of a base take, as loaded: embeddings, each layer, last norm and head."""

    embeddings: int
    layers: tuple[int, ...]
    head: int


@dataclass(frozen=True, kw_only=True)
class Split:
    """The stages of a base in their order, and the bytes of the weights of each."""

    spans: tuple[Span, ...]
    bytes: tuple[int, ...]

    def lines(self) -> list[str]:
        """Return one line for people on each stage."""
        return [
            f"stage {number}: {named(span)}, {size / 2**30:.2f} GiB"
            for number, (span, size) in enumerate(zip(self.spans, self.bytes, strict=True))
        ]


def split(config: PretrainedConfig, *, stages: int, quantization: Quantization) -> Split:
    """Cut a base into stages by the bytes of its weights as they are loaded.

    Of all cuts between layers it is one whose largest stage is smallest; embeddings and head count
    with the first and last stage (where they are tied, both hold them). Nothing is read.

    Raises UsageError where there are more stages than layers, or the base is not Llama-like.
    """
    check_llama_like(config)
    layers = config.num_hidden_layers
    if not 1 <= stages <= layers:
        raise UsageError(
            f"{stages} stages were asked for; the base has {layers} layers.",
            fix=f"Use between 1 and {layers} stages.",
        )
    sizes = module_bytes(config, quantization)
    ends = best_ends(sizes, stages)
    spans = tuple(
        Span(first=first, end=end, layers=layers)
        for first, end in zip((0, *ends[:-1]), ends, strict=True)
    )
    return Split(spans=spans, bytes=tuple(span_bytes(sizes, span) for span in spans))


def span_bytes(sizes: ModuleBytes, span: Span) -> int:
    """Return the bytes of the weights of one stage."""
    total = sum(sizes.layers[span.first : span.end])
    return total + span.embeds * sizes.embeddings + span.predicts * sizes.head


def best_ends(sizes: ModuleBytes, stages: int) -> tuple[int, ...]:
    """Return where each stage ends, so that the largest has the fewest bytes; all have a layer."""
    count = len(sizes.layers)

    @cache
    def best(first: int, left: int) -> tuple[int, tuple[int, ...]]:
        if left == 1:
            return span_bytes(sizes, Span(first=first, end=count, layers=count)), (count,)
        found = []
        for end in range(first + 1, count - left + 2):
            own = span_bytes(sizes, Span(first=first, end=end, layers=count))
            others, ends = best(end, left - 1)
            found.append((max(own, others), (end, *ends)))
        return min(found, key=lambda each: each[0])

    return best(0, stages)[1]


def module_bytes(config: PretrainedConfig, quantization: Quantization) -> ModuleBytes:
    """Return the bytes of a base's parts in that quantisation, by arithmetic on its shapes."""
    model: Any = skeleton(config, quantization=quantization)
    embeddings = _bytes(model.model.embed_tokens, quantization)
    return ModuleBytes(
        embeddings=embeddings,
        layers=tuple(_bytes(layer, quantization) for layer in model.model.layers),
        head=_bytes(model.model.norm, quantization)
        + (embeddings if config.tie_word_embeddings else _bytes(model.lm_head, quantization)),
    )


def _bytes(part: Any, quantization: Quantization) -> int:
    import bitsandbytes

    kinds = (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt)
    layers = [module for module in part.modules() if isinstance(module, kinds)]
    quantised = {id(layer.weight) for layer in layers}
    plain = sum(p.nbytes for p in part.parameters() if id(p) not in quantised)
    return plain + sum(
        linear_bytes(layer.out_features, layer.in_features, quantization) for layer in layers
    )


def named(span: Span) -> str:
    """Return a stage's parts in words."""
    layers = (
        f"layer {span.first}"
        if span.end == span.first + 1
        else f"layers {span.first}-{span.end - 1}"
    )
    return "embeddings, " * span.embeds + layers + ", head" * span.predicts
