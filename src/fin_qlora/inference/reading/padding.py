"""Prompts of unequal length in one tensor, and what is taken from the logits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .faults import check_finite


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids, and what of them is real, (rows, longest), each prompt at the right end."""
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    real = torch.zeros(len(prompts), width, dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        real[row, width - len(prompt) :] = True
    return ids, real


def chosen_tokens(logits: torch.Tensor, *, model: Any = None) -> list[int]:
    """Return the likeliest token of each row of logits (rows, vocabulary).

    Raises NotFiniteError where that is no number.
    """
    best = logits.max(-1)
    check_finite(best.values, model=model)
    tokens: list[int] = best.indices.tolist()
    return tokens
