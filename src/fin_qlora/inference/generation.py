"""Answers as a model writes them: always its likeliest next token, many rows at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import TruncatedAnswerError
from ..models.memory import cache_memory
from .reading.batches import Keep, Mine, Progress, by_length, collected
from .reading.beginning import shared_beginning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract

#: Most bytes in the caches of one batch, so that those of 70B fit beside it on a card of 48 GB.
CACHE_BUDGET = 4 * 2**30


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What a model wrote up to its end token.

    ``finished`` is false where the room for answers ended before the answer did.
    """

    text: str
    finished: bool


def generate_answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    inputs: Sequence[Mapping[str, Any] | str],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
    keep: Keep | None = None,
    mine: Mine | None = None,
) -> list[Generated]:
    """Return, for each input in order, what the model answers.

    Each token is the likeliest one, whatever the base's generation settings say; an answer ends
    with one of the contract's stop tokens, or when its room (``contract.answer_room``) is used up.
    What all prompts begin with is read once. Rows that have ended leave their batch.

    How rows are put together changes nothing but the rounding: in float32 answers are those of
    each row alone; in bfloat16 a near tie between two tokens may go the other way.

    Args:
        model: with or without PEFT's layers, or one in stages.
        batch_size: rows in one forward pass at most; rows are grouped by length, none is left out.
        progress: called with the number of rows done after each batch.
        keep: called with the indices of a batch's rows, and what came out, after each batch.
        mine: which batches are asked here; results of rows of others are None. Beginning and
            batches are those of all inputs, so answers do not depend on it.

    Raises:
        TruncatedAnswerError: a prompt leaves no room for its answer.
        ContractError: a row cannot be asked without ambiguity.
        MemoryShortError: a batch does not fit; ``keep`` has had those before it.
        NotFiniteError: the model answers NaN.
    """
    from .reading.whole import passes_of  # brings transformers, which reads HF_ENDPOINT once

    passes = passes_of(model)
    room = contract.answer_room(tokenizer)
    stops = contract.stop_tokens(tokenizer, also=_stops_of_the_base(passes))
    prompts = contract.prompts(tokenizer, inputs)
    _check_lengths(prompts, room=room, limit=passes.config.max_position_embeddings)
    place = cache_memory(passes.config, rows=1, length=1)
    beginning = shared_beginning(prompts)
    begun = len(beginning)
    batches = list(
        by_length(
            [len(prompt) + room for prompt in prompts],
            batch_size=batch_size,
            fits=lambda rows, width: rows * width * place <= CACHE_BUDGET,
            mine=mine,
        )
    )
    written = passes.continued(
        ([prompts[row][begun:] for row in rows] for rows in batches),
        beginning=beginning,
        stops=stops,
        room=room,
    )

    def found() -> Iterator[list[Generated]]:
        for batch in written:
            yield [_read(tokenizer, ids, stops) for ids in batch]

    with contextlib.closing(written):
        return collected(
            batches,
            found(),
            widths=[len(prompt) + room for prompt in prompts],
            keep=keep,
            progress=progress,
        )


def _read(tokenizer: PreTrainedTokenizerBase, ids: list[int], stops: Sequence[int]) -> Generated:
    finished = ids[-1] in stops
    text = tokenizer.decode(ids[:-1] if finished else ids, clean_up_tokenization_spaces=False)
    return Generated(text=str(text).strip(), finished=finished)


def _stops_of_the_base(passes: Any) -> tuple[int, ...]:
    named = getattr(passes.generation_config, "eos_token_id", None)
    return (named,) if isinstance(named, int) else tuple(named or ())


def _check_lengths(prompts: list[list[int]], *, room: int, limit: int) -> None:
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) + room > limit:
            raise TruncatedAnswerError(
                f"Input {number} has {len(prompt)} tokens; with {room} for the answer, the base "
                f"model reads at most {limit - room}.",
                fix="Shorten the text.",
            )
