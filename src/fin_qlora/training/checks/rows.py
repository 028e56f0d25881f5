"""What a data set must be before it is trained on: whole rows, each with an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ContractError, DataError, EmptyDatasetError, TruncatedAnswerError
from ...prompts.contract import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NO_ANSWER = "Every row needs an answer."


def first_row(dataset: Any) -> Mapping[str, Any]:
    """Return the first row of a data set or a stream. Raises EmptyDatasetError."""
    for row in dataset:
        return dict(row)
    raise EmptyDatasetError("The data set has no row.", fix="Check the data files.")


def holds_conversations(row: Mapping[str, Any]) -> bool:
    """Return whether the answers of a data set are turns inside of conversations."""
    return "prompt" not in row and ("messages" in row or "conversations" in row)


def is_text_pair(row: Mapping[str, Any]) -> bool:
    """Return whether a row is a prompt and a completion that are not tokenised yet."""
    return "input_ids" not in row and {"prompt", "completion"} <= row.keys()


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ContractError when the chat template does not say which turns are answers."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    try:
        if not has_generation_markers(tokenizer.chat_template or ""):
            get_training_chat_template(tokenizer)
    except ValueError as error:
        raise ContractError(
            "The tokenizer's chat template does not mark the assistant's turns, so questions would "
            "be trained as well as answers.",
            fix="Use rows of prompt and completion, or a template with {% generation %}.",
        ) from error


def with_boundary(prompt: str, completion: str) -> tuple[str, str]:
    """Return both with a blank that ends the prompt moved to the beginning of the completion."""
    bare = prompt.rstrip(" ")
    return (prompt, completion) if bare == prompt else (bare, f" {completion.lstrip(' ')}")


def aligned(dataset: Any, *, tokenizer: PreTrainedTokenizerBase, template: str | None) -> Any:
    """Return prompt/completion rows in which the boundary between the two stays where it is.

    A blank that ends the prompt is moved to the completion, where the tokenizer wants it.

    Raises:
        ContractError: the last token of a prompt would merge with the first of its completion.
        DataError: a completion is empty.
    """

    def align(row: dict[str, Any], index: int) -> dict[str, Any]:
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(prompt, str):
            if not completion.strip():
                raise DataError(f"Row {index + 1} has an empty completion.", fix=_NO_ANSWER)
            prompt, completion = with_boundary(prompt, completion)
            alone = tokenizer(prompt)["input_ids"]
            whole = tokenizer(prompt + completion)["input_ids"]
        else:
            tools = row.get("tools")
            options: dict[str, Any] = {
                "chat_template": template,
                "tools": json.loads(tools) if isinstance(tools, str) else tools,
                "tokenize": True,
                "return_dict": False,
                **(row.get("chat_template_kwargs") or {}),
            }
            alone = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, **options)
            whole = tokenizer.apply_chat_template(prompt + completion, **options)
        if list(whole[: len(alone)]) != list(alone):
            raise ContractError(
                f"Row {index + 1}: the end of the prompt merges with its completion, so that it "
                "would be trained on another prompt than it is asked with.",
                fix="End the prompt after a word, and begin the completion with a blank.",
            )
        return {"prompt": prompt, "completion": completion}

    return dataset.map(align, with_indices=True)


def checked(dataset: Any, *, limit: int | None, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return a tokenised data set of which every row is whole and has an answer.

    A stream is checked row by row while it is read.

    Raises:
        EmptyDatasetError: there is no row.
        TruncatedAnswerError: a row is longer than ``limit`` tokens.
        DataError: a row has no trained token, or none besides control tokens.
    """
    control = set(tokenizer.all_special_ids)
    control |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}

    def check(row: dict[str, Any], index: int) -> dict[str, Any]:
        length = len(row["input_ids"])
        if limit is not None and length > limit:
            raise TruncatedAnswerError(
                f"Row {index + 1} has {length} tokens, more than max_length={limit}.",
                fix=f"Set max_length to at least {length}, or shorten the row.",
            )
        trained = [token for token in row["labels"] if token != IGNORED]
        if not trained:
            raise DataError(f"Row {index + 1} has no trained token.", fix=_NO_ANSWER)
        if control.issuperset(trained):
            raise DataError(
                f"Row {index + 1} has no trained token but the end of its answer.", fix=_NO_ANSWER
            )
        return row

    if not hasattr(dataset, "__len__"):
        return dataset.map(check, with_indices=True)
    if len(dataset) == 0:
        raise EmptyDatasetError("The data set has no row.", fix="Check the data files.")
    for index, row in enumerate(dataset.select_columns(["input_ids", "labels"])):
        check(row, index)
    return dataset
