"""Prompts, choices and stops as the harness is to be given them: text that becomes our very ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ContractError, UsageError
from ...prompts import ANSWER_TOKENS, PromptContract

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Wording(Protocol):
    """What the harness puts before a model."""

    @property
    def choices(self) -> tuple[str, ...]:
        """Return each label as it is scored, without what stands between prompt and answer."""

    @property
    def delimiter(self) -> str:
        """Return what stands between prompt and answer."""

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the texts on which generation stops, besides the model's own end."""

    @property
    def room(self) -> int:
        """Return the tokens that a free answer may have."""

    def prompts(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the prompt of each row."""


@dataclass(frozen=True)
class ForAnyModel:
    """The prompt as text, for any model: its tokenizer decides about begin and end tokens."""

    contract: PromptContract

    def __post_init__(self) -> None:
        if self.contract.form != "plain" or self.contract.shorten_to is not None:
            raise UsageError(
                "Prompts in chat form, and prompts that are shortened, depend on the model.",
                fix="Name it with --model.",
            )

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the labels."""
        return self.contract.labels

    @property
    def delimiter(self) -> str:
        """Return the blank that an answer brings."""
        return " "

    @property
    def stops(self) -> tuple[str, ...]:
        """Return nothing: the model's own end alone stops it."""
        return ()

    @property
    def room(self) -> int:
        """Return the usual room of such answers."""
        return self.contract.answer_tokens or ANSWER_TOKENS[self.contract.grammar]

    def prompts(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the prompt of each row as a person reads it."""
        return [self.contract.prompt_text(row) for row in rows]


@dataclass(frozen=True)
class ForOneModel:
    """The prompt with its begin token and the labels with their end token, as text.

    Every prompt and every prompt with a label is read again by the model's tokenizer, as the
    harness will: where that does not give the ids of the contract, it is an error.
    """

    contract: PromptContract
    tokenizer: PreTrainedTokenizerBase

    @property
    def choices(self) -> tuple[str, ...]:
        """Return the labels, each closed by the end token that is trained."""
        end = self._text([self.contract.end_token(self.tokenizer)])
        return tuple(label + end for label in self.contract.labels)

    @property
    def delimiter(self) -> str:
        """Return the blank that an answer brings; a chat's turn has none."""
        return "" if self.contract.form == "chat" else " "

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the tokens on which generation stops, as text."""
        stops = self.contract.stop_tokens(self.tokenizer)
        return tuple(self._text([token]) for token in stops)

    @property
    def room(self) -> int:
        """Return the tokens that a free answer may have."""
        return self.contract.answer_room(self.tokenizer)

    def prompts(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the prompt of each row, begin token included.

        Raises ContractError when text and ids are not the same under this tokenizer.
        """
        wanted = self.contract.prompts(self.tokenizer, rows)
        texts = [self._text(ids) for ids in wanted]
        answers = self.contract.answers(self.tokenizer, self.contract.labels)
        endings: list[tuple[str, list[int]]] = [("", [])]
        for choice, ids in zip(self.choices, answers, strict=True):
            endings.append((self.delimiter + choice, ids))
        for ending, answer in endings:
            read = self.tokenizer(
                [text + ending for text in texts], add_special_tokens=False, verbose=False
            )["input_ids"]
            for number, (ids, prompt) in enumerate(zip(read, wanted, strict=True), start=1):
                if ids != prompt + answer:
                    raise ContractError(
                        f"Row {number} with the ending {ending!r} is read back as other tokens "
                        "than those that are trained, so the harness would ask something else.",
                        fix="Export without --model; scores are then near ours, not the same.",
                    )
        return texts

    def _text(self, ids: list[int]) -> str:
        return str(
            self.tokenizer.decode(
                ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )
