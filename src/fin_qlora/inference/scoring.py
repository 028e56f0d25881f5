"""The log-likelihood of every label, in one forward pass per batch of rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import TruncatedAnswerError, UsageError
from .labels.layout import LabelBatch
from .labels.tree import LabelTree
from .probabilities import probabilities
from .reading.batches import Keep, Mine, Progress, by_length, collected
from .reading.beginning import shared_beginning
from .reading.faults import check_finite

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract

#: Most places in the attention masks of one batch (rows x queries x keys); 8 bytes each at most.
MASK_BUDGET = 32 * 1024 * 1024
#: Most tokens in one pass, padding included; on a processor, whose caches are small, fewer.
TOKEN_BUDGET, CPU_TOKEN_BUDGET = 16 * 1024, 1024


def score_labels(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    inputs: Sequence[Mapping[str, Any] | str],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
    keep: Keep | None = None,
    mine: Mine | None = None,
) -> list[dict[str, float]]:
    """Return, for each input in order, the probability of each label among the labels.

    Arguments and errors are those of ``label_log_likelihoods``.
    """

    def kept(rows: Sequence[int], found: Sequence[dict[str, float]]) -> None:
        if keep is not None:
            keep(rows, [probabilities(one) for one in found])

    found = label_log_likelihoods(
        model,
        tokenizer,
        contract,
        inputs,
        batch_size=batch_size,
        progress=progress,
        keep=kept,
        mine=mine,
    )
    return [one and probabilities(one) for one in found]


def label_log_likelihoods(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    inputs: Sequence[Mapping[str, Any] | str],
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
    keep: Keep | None = None,
    mine: Mine | None = None,
) -> list[dict[str, float]]:
    """Return, for each input in order, the natural log-likelihood of each label.

    It is the sum over the label's tokens and the end token, so a label that begins another one is
    no problem. What all prompts begin with is read once. The rest of each prompt is read once
    too, with the labels behind it side by side under a mask that hides them from one another, and
    the head runs only where an answer token is predicted. Where an architecture cannot do that,
    each label is read on its own; the numbers are the same but for the rounding.

    Args:
        model: with or without PEFT's layers, or one in stages.
        batch_size: rows in one forward pass at most; rows are grouped by length, none is left out.
        progress: called with the number of rows done after each batch.
        keep: called with the indices of a batch's rows, and what came out, after each batch.
        mine: which batches are asked here; results of rows of others are None. Beginning and
            batches are those of all inputs, so numbers do not depend on it.

    Raises:
        UsageError: the answers are free.
        TruncatedAnswerError: a prompt leaves no room for the labels.
        MemoryShortError: a batch does not fit; ``keep`` has had those before it.
        NotFiniteError: the model answers NaN.
    """
    from .reading.whole import Whole, passes_of  # brings transformers, which reads HF_ENDPOINT once

    if not contract.labels:
        raise UsageError(
            f"The answers are free (grammar '{contract.grammar}'), so there are no labels to "
            "score.",
            fix="Generate answers instead.",
        )
    answers = contract.answers(tokenizer, contract.labels)
    prompts = contract.prompts(tokenizer, inputs)
    passes = passes_of(model)
    _check_lengths(prompts, answers, passes.config.max_position_embeddings)
    longest = max(map(len, prompts), default=0) + max(map(len, answers))
    tree = LabelTree.of(answers)
    apart: Whole | None = None
    if isinstance(passes, Whole) and not passes.takes_trees(longest=longest):
        apart = passes
    beginning = [] if apart else shared_beginning(prompts)
    begun = len(beginning)
    own = [prompt[begun:] for prompt in prompts]
    budget = TOKEN_BUDGET
    if isinstance(passes, Whole) and passes.device.type == "cpu":
        budget = min(budget, CPU_TOKEN_BUDGET)
    batches = list(
        by_length(
            [len(prompt) + tree.nodes for prompt in own],
            batch_size=batch_size,
            fits=lambda rows, width: (
                rows * width <= budget and rows * width * (begun + width) <= MASK_BUDGET
            ),
            mine=mine,
        )
    )
    asked = ([own[row] for row in rows] for rows in batches)
    if apart:
        totals = apart.totals_apart(asked, answers=answers)
    else:
        laid_out = (LabelBatch.of(rows, tree, beginning=begun) for rows in asked)
        totals = passes.totals(laid_out, tree=tree, beginning=beginning)

    def found() -> Iterator[list[dict[str, float]]]:
        for rows, batch in zip(batches, totals, strict=True):
            broken = (~batch.isfinite()).any(1).nonzero()
            if len(broken):
                place = f"Input {rows[int(broken[0])] + 1}"
                check_finite(batch, model=model, place=place)
            yield [dict(zip(contract.labels, numbers, strict=True)) for numbers in batch.tolist()]

    with contextlib.closing(totals):
        return collected(
            batches,
            found(),
            widths=[len(prompt) for prompt in prompts],
            keep=keep,
            progress=progress,
        )


def _check_lengths(prompts: list[list[int]], answers: list[list[int]], limit: int) -> None:
    room = limit - max(map(len, answers))
    for number, prompt in enumerate(prompts, start=1):
        if len(prompt) > room:
            raise TruncatedAnswerError(
                f"Input {number} has {len(prompt)} tokens; with the answer, the base model reads "
                f"at most {room}.",
                fix="Shorten the text.",
            )
