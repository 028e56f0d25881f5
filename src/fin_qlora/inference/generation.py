"""Answers as a model writes them: always its likeliest next token, many rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..errors import TruncatedAnswerError
from ..models.memory import cache_memory
from .batches import Progress, by_length

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


@torch.no_grad()
def generate_answers(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    inputs: Sequence[Mapping[str, Any] | str],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> list[Generated]:
    """Return, for each input in order, what the model answers.

    Each token is the likeliest one, whatever the base's generation settings say; an answer ends
    with one of the contract's stop tokens, or when its room (``contract.answer_room``) is used up.
    Rows that have ended leave their batch.

    How rows are put together changes nothing but the rounding: in float32 answers are those of
    each row alone; in bfloat16 a near tie between two tokens may go the other way.

    Args:
        batch_size: rows in one forward pass; rows are grouped by length, none is left out.
        progress: called with the number of rows done after each batch.

    Raises:
        TruncatedAnswerError: a prompt leaves no room for its answer.
        ContractError: a row cannot be asked without ambiguity.
    """
    causal = model.get_base_model() if hasattr(model, "peft_config") else model
    room = contract.answer_room(tokenizer)
    stops = contract.stop_tokens(tokenizer, also=_stops_of_the_base(causal))
    prompts = contract.prompts(tokenizer, inputs)
    _check_lengths(prompts, room=room, limit=causal.config.max_position_embeddings)
    widths = [len(prompt) + room for prompt in prompts]
    found: dict[int, Generated] = {}
    training = model.training
    model.eval()
    try:
        place = cache_memory(causal.config, rows=1, length=1)
        for rows in by_length(
            widths, batch_size=batch_size, fits=lambda n, width: n * width * place <= CACHE_BUDGET
        ):
            batch = [prompts[i] for i in rows]
            for i, ids in zip(rows, _continued(causal, batch, stops, room), strict=True):
                finished = ids[-1] in stops
                text = tokenizer.decode(
                    ids[:-1] if finished else ids, clean_up_tokenization_spaces=False
                )
                found[i] = Generated(text=str(text).strip(), finished=finished)
            if progress is not None:
                progress(len(found))
    finally:
        model.train(training)
    return [found[i] for i in range(len(inputs))]


def _stops_of_the_base(causal: Any) -> tuple[int, ...]:
    named = getattr(getattr(causal, "generation_config", None), "eos_token_id", None)
    return (named,) if isinstance(named, int) else tuple(named or ())


def _check_lengths(prompts: list[list[int]], *, room: int, limit: int) -> None:
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) + room > limit:
            raise TruncatedAnswerError(
                f"Input {number} has {len(prompt)} tokens; with {room} for the answer, the base "
                f"model reads at most {limit - room}.",
                fix="Shorten the text.",
            )


def _continued(
    causal: Any, prompts: list[list[int]], stops: tuple[int, ...], room: int
) -> list[list[int]]:
    """Return the ids that follow each prompt, the stop token included, at most ``room``."""
    answers: list[list[int]] = [[] for _ in prompts]
    for rows, chosen in _steps(causal, prompts, stops, room):
        for row, token in zip(rows, chosen, strict=True):
            answers[row].append(token)
    return answers


def _steps(
    causal: Any, prompts: list[list[int]], stops: tuple[int, ...], room: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the rows that are still answered, and the next token of each."""
    from transformers import DynamicCache

    device = causal.get_input_embeddings().weight.device
    ids, mask = _left_padded(prompts)
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=causal.config)
    rows = list(range(len(prompts)))
    for step in range(room):
        logits = causal(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        chosen = logits[:, -1].argmax(-1)
        tokens = chosen.tolist()
        yield rows, tokens
        going = [place for place, token in enumerate(tokens) if token not in stops]
        if not going or step + 1 == room:
            return
        positions = positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        if len(going) < len(rows):
            kept = torch.tensor(going, device=device)
            chosen, positions, mask = chosen[kept], positions[kept], mask[kept]
            cache.batch_select_indices(kept)
            rows = [rows[place] for place in going]
        ids = chosen[:, None]


def _left_padded(prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask of shape (rows, longest), each prompt at the right end."""
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    return ids, mask
