"""What an answer may be, and how much room it gets."""

from __future__ import annotations

from typing import Literal

from ..errors import ContractError

#: What an answer is: one of the labels, or free text of a kind that the task knows how to read.
Grammar = Literal["label", "tag", "number", "formula", "calculation", "context", "text", "list"]

#: Room for a free answer in tokens, its end token included: generation stops there at the latest.
ANSWER_TOKENS: dict[Grammar, int] = {
    "tag": 64,
    "number": 48,
    "formula": 128,
    "calculation": 128,
    "context": 16,
    "text": 512,
    "list": 1024,
}


def check_labels(labels: tuple[str, ...]) -> None:
    """Raise ContractError unless the labels are two or more, different, without blanks around."""
    if len(set(labels)) < 2 or len(set(labels)) != len(labels):
        raise ContractError(f"The labels {list(labels)} are not at least two, all different.")
    for label in labels:
        if not label or label != label.strip():
            raise ContractError(f"The label {label!r} is empty or has blanks at its ends.")
