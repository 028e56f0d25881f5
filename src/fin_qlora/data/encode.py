"""Rows become token ids, each checked before a weight moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import EmptyDatasetError, TruncatedAnswerError
from ..prompts import EncodedExample, PromptContract

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class EncodedRows:
    """Encoded examples in the order of their rows, with the lengths that a plan needs (tokens)."""

    examples: list[EncodedExample]
    longest: int
    mean_length: float
    trained_tokens: int


def encode_rows(
    rows: Sequence[Mapping[str, str]],
    *,
    contract: PromptContract,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None,
) -> EncodedRows:
    """Encode every row and refuse the set when one row would not be trained on as it stands.

    Raises:
        EmptyDatasetError: there is no row.
        TruncatedAnswerError: a row is longer than ``max_length`` tokens; nothing is ever cut.
        ContractError: a row cannot be encoded without ambiguity.
    """
    if not rows:
        raise EmptyDatasetError("There is no row to encode.", fix="Check the data files.")
    answers = {label: contract.answer(tokenizer, label) for label in contract.labels}
    examples = []
    for row in rows:
        prompt, answer = contract.prompt(tokenizer, row), answers[row["label"]]
        examples.append(EncodedExample.of(prompt, answer))
    lengths = [len(example.input_ids) for example in examples]
    if max_length is not None and max(lengths) > max_length:
        over = sum(length > max_length for length in lengths)
        worst = max(range(len(rows)), key=lengths.__getitem__)
        raise TruncatedAnswerError(
            f"{over} of {len(rows)} rows are longer than max_length={max_length} tokens; the "
            f"longest is row {worst + 1} with {lengths[worst]}: {rows[worst]['text'][:60]!r}.",
            fix=f"Set max_length to at least {lengths[worst]}, or shorten the rows.",
        )
    return EncodedRows(
        examples=examples,
        longest=max(lengths),
        mean_length=sum(lengths) / len(lengths),
        trained_tokens=sum(example.answer_tokens for example in examples),
    )
