"""How much arithmetic training takes, counted as papers count it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Floating-point operations of one token, forward; a multiplication and an addition are two.

    Attributes:
        layers: in all matrices of all layers.
        head: in the output matrix, where it runs.
        attention: for each token that is looked back at, in all layers.
        adapter: in the adapter's matrices.
    """

    layers: int
    head: int
    attention: int
    adapter: int

    @classmethod
    def of(cls, model: PreTrainedModel, *, adapter_parameters: int) -> Arithmetic:
        """Return the arithmetic of a model, which may be a skeleton."""
        from torch import nn

        config: PretrainedConfig = model.config.get_text_config()
        output: Any = model.get_output_embeddings()
        matrices = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not output]
        width = getattr(config, "head_dim", None) or (
            config.hidden_size // config.num_attention_heads
        )
        return cls(
            layers=2 * sum(m.in_features * m.out_features for m in matrices),
            head=2 * output.in_features * output.out_features,
            attention=4 * config.num_hidden_layers * config.num_attention_heads * width,
            adapter=2 * adapter_parameters,
        )

    def training(self, *, tokens: int, pairs: int, predictions: int, again: bool = False) -> int:
        """Return the operations of forward and backward pass.

        Frozen matrices pass gradients through and get none, so they count twice, not three times;
        attention counts three times, and so do the adapter's matrices.

        Args:
            tokens: that go through the layers.
            pairs: of a token and one that it sees, itself included.
            predictions: positions at which the head runs.
            again: whether the layers' forward pass is computed once more (checkpointing); what
                model-FLOPs utilisation is measured by leaves this out.
        """
        forward = tokens * (self.layers + self.adapter) + pairs * self.attention
        return (
            tokens * (2 * self.layers + 3 * self.adapter)
            + 3 * pairs * self.attention
            + 2 * predictions * self.head
            + (forward if again else 0)
        )
