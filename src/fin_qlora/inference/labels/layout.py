"""How the prompts of a batch and the labels behind them are laid out for one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .tree import LabelTree


@dataclass(frozen=True, kw_only=True)
class LabelBatch:
    """Rows of ``[prompt, padding, tree of labels]``, behind what all prompts begin with.

    Attributes:
        input_ids, position_ids: (rows, width).
        allowed: (rows, width, beginning + width), true where the query (second axis) may read the
            key (third axis).
        picked: (rows, places), the columns at which something is predicted.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    allowed: torch.Tensor
    picked: torch.Tensor

    @classmethod
    def of(
        cls, prompts: Sequence[Sequence[int]], tree: LabelTree, *, beginning: int = 0
    ) -> LabelBatch:
        """Lay out prompts.

        Args:
            prompts: the ids of each prompt that come after what all begin with, at least one.
            beginning: tokens before them.
        """
        rows, longest = len(prompts), max(map(len, prompts))
        width = longest + tree.nodes
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        ids = torch.zeros(rows, width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        ids[:, longest:] = torch.tensor(tree.tokens, dtype=torch.long)
        positions = torch.arange(beginning, beginning + width).repeat(rows, 1)
        depths = torch.tensor(tree.depths(), dtype=torch.long)
        positions[:, longest:] = beginning + lengths[:, None] + depths
        # padding is behind its row's prompt, and no label reads it
        allowed = torch.ones(width, beginning + width, dtype=torch.bool).tril(beginning)
        allowed = allowed.repeat(rows, 1, 1)
        own = torch.arange(longest)[None] < lengths[:, None]
        allowed[:, longest:, beginning : beginning + longest] = own[:, None]
        allowed[:, longest:, beginning + longest :] = tree.visible()
        nodes = torch.arange(longest, width).expand(rows, -1)
        return cls(
            input_ids=ids,
            position_ids=positions,
            allowed=allowed,
            picked=torch.cat([lengths[:, None] - 1, nodes], dim=1),
        )

    def rows(self, start: int, stop: int) -> LabelBatch:
        """Return some of the rows."""
        return LabelBatch(
            input_ids=self.input_ids[start:stop],
            position_ids=self.position_ids[start:stop],
            allowed=self.allowed[start:stop],
            picked=self.picked[start:stop],
        )


def additive(
    allowed: torch.Tensor, *, dtype: torch.dtype, device: torch.device | str
) -> torch.Tensor:
    """Return (rows, 1, queries, keys) to be added to attention scores: 0 where it is allowed."""
    blocked = torch.zeros(allowed.shape, dtype=dtype, device=device)
    blocked.masked_fill_(~allowed.to(device), torch.finfo(dtype).min)
    return blocked[:, None]


def picked_states(hidden: torch.Tensor, picked: torch.Tensor) -> torch.Tensor:
    """Return the states (rows, places, width) at the picked columns of (rows, columns, width)."""
    rows = torch.arange(len(hidden), device=hidden.device)[:, None]
    return hidden[rows, picked.to(hidden.device)]
