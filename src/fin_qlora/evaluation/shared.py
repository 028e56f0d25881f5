"""Asking rows on all processes of a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..inference.batches import Progress
from ..models.sharded import is_sharded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract


class Ask(Protocol):
    """Something that asks a model about rows and returns one result for each, in their order."""

    def __call__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        contract: PromptContract,
        inputs: Sequence[Mapping[str, Any]],
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[Any]:
        """Return a result for each input."""


def shared_out(ask: Ask) -> Ask:
    """Return ``ask`` with its batches dealt out to the processes of a launch.

    Every process must call with the same rows, and gets the results of all of them in their order.
    The batches are those of one process (rows by length), so the results are the same; only where
    rows are so long that a batch is split may the last bits of a number differ.

    Where a model's weights are themselves shared out (ZeRO-3, FSDP), each pass needs every process:
    then all of them ask all rows. Progress is an estimate of the rows that all have done.
    """

    def shared(
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        contract: PromptContract,
        inputs: Sequence[Mapping[str, Any]],
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[Any]:
        if not _can_share(model):
            return ask(model, tokenizer, contract, inputs, batch_size=batch_size, progress=progress)
        rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        lengths = [len(prompt) for prompt in contract.prompts(tokenizer, inputs)]
        order = sorted(range(len(inputs)), key=lengths.__getitem__)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        mine = [index for batch in batches[rank::world] for index in batch]

        def move(done: int) -> None:
            if progress is not None:
                progress(min(done * world, len(inputs)))

        found = ask(
            model,
            tokenizer,
            contract,
            [inputs[index] for index in mine],
            batch_size=batch_size,
            progress=move,
        )
        everyone: list[Any] = [None] * world
        torch.distributed.all_gather_object(everyone, list(zip(mine, found, strict=True)))
        results = dict(pair for part in everyone for pair in part)
        return [results[index] for index in range(len(inputs))]

    return shared


def _can_share(model: Any) -> bool:
    launched = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    return launched and not is_sharded(model)
