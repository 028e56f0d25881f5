"""Rows that are longer than a model reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import TruncatedAnswerError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..prompts import PromptContract

#: What becomes of a row that is too long: an error, or a wrong answer that is told of.
OnOverlongRow = Literal["raise", "wrong"]

_NAMED = 5


def prompt_lengths(
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    rows: Sequence[Mapping[str, Any]],
) -> dict[int, int]:
    """Return the tokens of each row's prompt by the row's place.

    Raises ContractError for a row that cannot be asked without ambiguity.
    """
    return dict(enumerate(map(len, contract.prompts(tokenizer, rows))))


def overlong_rows(
    lengths: Mapping[int, int], *, room: int, limit: int, then: OnOverlongRow
) -> list[int]:
    """Return the places of the rows that a model cannot read whole.

    Args:
        room: tokens that an answer may have.
        limit: tokens that the model reads.

    Raises:
        TruncatedAnswerError: there is one, and it is not to be counted as wrong; rows are named
            by their number, from 1.
    """
    found = [row for row, length in lengths.items() if length + room > limit]
    if found and then == "raise":
        named = ", ".join(f"row {row + 1} ({lengths[row]} tokens)" for row in found[:_NAMED])
        more = f" and {len(found) - _NAMED:,} more" if len(found) > _NAMED else ""
        raise TruncatedAnswerError(
            f"With {room} tokens for the answer the model reads prompts of at most {limit - room}, "
            f"and longer are {named}{more}.",
            fix="Shorten them, or have them counted as wrong answers with --on-overlong wrong.",
        )
    return found
