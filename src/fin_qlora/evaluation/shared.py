"""Scoring rows on all processes of a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..inference.scoring import Progress, score_labels

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract


def score_shared(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    inputs: Sequence[Mapping[str, Any]],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Return what ``score_labels`` returns, with the batches dealt out to the processes.

    Every process must call with the same rows, and gets the scores of all of them in their order.
    The batches are those of one process (rows by length), so the scores are the same numbers; only
    where rows are so long that a batch is split may the last bits differ.

    Args:
        progress: called with an estimate of the rows that all processes have done.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return score_labels(
            model, tokenizer, contract, inputs, batch_size=batch_size, progress=progress
        )
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    lengths = [len(contract.prompt(tokenizer, row)) for row in inputs]
    order = sorted(range(len(inputs)), key=lengths.__getitem__)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    mine = [index for batch in batches[rank::world] for index in batch]

    def move(done: int) -> None:
        if progress is not None:
            progress(min(done * world, len(inputs)))

    scored = score_labels(
        model,
        tokenizer,
        contract,
        [inputs[index] for index in mine],
        batch_size=batch_size,
        progress=move,
    )
    everyone: list[Any] = [None] * world
    torch.distributed.all_gather_object(everyone, list(zip(mine, scored, strict=True)))
    scores = dict(pair for part in everyone for pair in part)
    return [scores[index] for index in range(len(inputs))]
