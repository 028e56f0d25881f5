"""Asking a model about rows: on all processes of a launch, and only what is not done yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..errors import MemoryShortError
from ..inference.generation import Generated, generate_answers
from ..inference.reading.batches import Keep, Mine, Progress
from ..inference.scoring import label_log_likelihoods
from ..models.sharded import is_sharded
from .journal import Journal

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
        keep: Keep | None = None,
        mine: Mine | None = None,
    ) -> list[Any]:
        """Return a result for each input.

        ``keep`` gets the places and results of each batch as it is done; ``mine`` says whether a
        batch is asked here (the results of others are None).
        """


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about a row: how likely its labels are, or what the model writes.

    ``stored`` makes a result to JSON values for the journal, ``restored`` makes it of them.
    """

    name: str
    ask: Ask
    stored: Callable[[Any], Any]
    restored: Callable[[Any], Any]


#: The natural log-likelihood of every label.
LIKELIHOOD = Question(
    name="likelihood", ask=label_log_likelihoods, stored=lambda one: one, restored=lambda one: one
)
#: What the model writes, token by token.
GENERATE = Question(
    name="generate", ask=generate_answers, stored=asdict, restored=lambda one: Generated(**one)
)


@dataclass(frozen=True, kw_only=True)
class Answered:
    """The result of one row, and its share of its batch's seconds."""

    result: Any
    seconds: float


def ask_rows(
    question: Question,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    rows: Mapping[int, Mapping[str, Any]],
    *,
    batch_size: int,
    progress: Progress | None = None,
    shared: bool = False,
    journal: Journal | None = None,
) -> dict[int, Answered]:
    """Return, for the place of each row in the data, what the model gives.

    Rows that the journal has are not asked again. With ``shared`` the batches are dealt out to the
    processes of a launch, all of which must call with the same rows, and each gets the results of
    all. The batches are always cut from all rows, so that the results are those of one process that
    was never stopped, to the last bit.

    Where a model's weights are themselves shared out (ZeRO-3, FSDP, stages), each pass needs every
    process: then all of them ask all rows. Progress is an estimate of the rows that all have done.

    Raises:
        MemoryShortError: a batch does not fit; what is finished stays in the journal.
    """
    together = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    dealt = together and shared and not is_sharded(model)
    rank = torch.distributed.get_rank() if together else 0
    world = torch.distributed.get_world_size() if dealt else 1
    kept = journal.done if journal else {}
    places = list(rows)
    found = {
        row: Answered(result=question.restored(one.result), seconds=one.seconds)
        for row, one in (_of_all(kept) if together else kept).items()
        if row in rows
    }
    before, keeps = len(found), journal is not None and (dealt or rank == 0)
    clock = time.perf_counter()
    asked: dict[int, Answered] = {}

    def mine(number: int, batch: Sequence[int]) -> bool:
        todo = any(places[index] not in found for index in batch)
        return todo and (not dealt or number % world == rank)

    def keep(batch: Sequence[int], results: Sequence[Any]) -> None:
        nonlocal clock
        now = time.perf_counter()
        took, clock = now - clock, now
        if keeps and journal is not None:
            stored = [question.stored(one) for one in results]
            journal.add([places[index] for index in batch], stored, seconds=took)
        for index, one in zip(batch, results, strict=True):
            asked[places[index]] = Answered(result=one, seconds=took / len(batch))
        if progress is not None:
            progress(min(before + len(asked) * world, len(rows)))

    if progress is not None:
        progress(before)
    try:
        if before < len(rows):
            question.ask(
                model,
                tokenizer,
                contract,
                [rows[place] for place in places],
                batch_size=batch_size,
                keep=keep,
                mine=mine,
            )
    except MemoryShortError as error:
        if not keeps:
            raise
        raise MemoryShortError(
            f"{error.message} {before + len(asked):,} of {len(rows):,} rows are kept.",
            fix=f"{error.fix} The same --out goes on where it stopped.",
        ) from error
    found.update(_of_all(asked) if dealt else asked)
    return {place: found[place] for place in places}


def _of_all(mine: Mapping[int, Any]) -> dict[int, Any]:
    """Return what all processes have; all must call."""
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, dict(mine))
    return {row: one for part in everyone for row, one in part.items()}
