"""The one object that turns an example into token ids; its digest travels with the adapter."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

from ..errors import ContractError
from ..files import sha256_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Form = Literal["plain", "chat"]
Row = Mapping[str, Any]

#: The paper's layout. It must not end in a blank: the answer brings its own.
PLAIN_SHAPE = "Instruction: {instruction}\nInput: {input}\nAnswer:"

IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """One training example: ``labels`` is -100 on the prompt and the token id on the answer."""

    input_ids: list[int]
    labels: list[int]

    @classmethod
    def of(cls, prompt: list[int], answer: list[int]) -> Self:
        """Join prompt ids and answer ids; only the answer is trained."""
        return cls(input_ids=[*prompt, *answer], labels=[*([IGNORED] * len(prompt)), *answer])

    @property
    def answer_tokens(self) -> int:
        """Return the number of trained tokens, the end token included."""
        return sum(label != IGNORED for label in self.labels)


@dataclass(frozen=True, kw_only=True)
class PromptContract:
    """What is asked, in which layout, and which answers there are.

    Training, evaluation and prediction build their ids here and nowhere else. Ids are made by
    concatenation (prompt ids + answer ids + end token), never by tokenising joined text, so that
    no merge can move the boundary between what is read and what is trained.

    Args:
        form: ``plain`` is the paper's Instruction/Input/Answer layout, ``chat`` the base's own
            chat template.
        instruction: what the model is asked to do; may name row fields in braces.
        input_template: how a row becomes the input text; names row fields in braces.
        labels: the answers, in a fixed order.
    """

    form: Form = "plain"
    instruction: str
    input_template: str = "{text}"
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.form not in ("plain", "chat"):
            raise ContractError(
                f"The prompt form '{self.form}' does not exist.", fix="Use 'plain' or 'chat'."
            )
        if len(set(self.labels)) < 2 or len(set(self.labels)) != len(self.labels):
            raise ContractError(
                f"The labels {list(self.labels)} are not at least two, all different."
            )
        for label in self.labels:
            if not label or label != label.strip():
                raise ContractError(f"The label {label!r} is empty or has blanks at its ends.")

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 over everything that shapes a prompt or an answer."""
        return sha256_json(self.to_dict())

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Return the row fields that a prompt needs, in order of first use."""
        names = [
            name
            for template in (self.instruction, self.input_template)
            for _, name, _, _ in string.Formatter().parse(template)
            if name
        ]
        return tuple(dict.fromkeys(names))

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain JSON values; ``from_dict`` reads them back."""
        values = asdict(self)
        values["labels"] = list(self.labels)
        values["shape"] = PLAIN_SHAPE if self.form == "plain" else "chat_template"
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the contract that ``to_dict`` wrote. Raises ContractError on unknown content."""
        known = {"form", "instruction", "input_template", "labels", "shape"}
        if set(values) != known:
            odd = sorted(set(values) ^ known)
            raise ContractError(
                f"The prompt contract has unexpected or missing fields {odd}.",
                fix="It was written by another version of fin-qlora.",
            )
        contract = cls(
            form=values["form"],
            instruction=values["instruction"],
            input_template=values["input_template"],
            labels=tuple(values["labels"]),
        )
        if contract.to_dict()["shape"] != values["shape"]:
            raise ContractError("The prompt contract was made for another prompt layout.")
        return contract

    def render(self, row: Row | str) -> tuple[str, str]:
        """Return (instruction, input) as text. A plain string is taken as the whole input."""
        if isinstance(row, str):
            row = {"text": row, **dict.fromkeys(self._instruction_fields(), "")}
            template = "{text}"
        else:
            template = self.input_template
        missing = [name for name in self.fields if name not in row and template != "{text}"]
        if missing or "text" not in row:
            raise ContractError(
                f"A row needs the fields {list(self.fields)} but has {sorted(row)}.",
                fix=f"Add {missing or ['text']}.",
            )
        return self.instruction.format_map(row), template.format_map(row).strip()

    def prompt_text(self, row: Row | str) -> str:
        """Return the prompt as a person reads it, without special tokens (``plain`` layout)."""
        instruction, text = self.render(row)
        return PLAIN_SHAPE.format(instruction=instruction, input=text)

    def prompt(self, tokenizer: PreTrainedTokenizerBase, row: Row | str) -> list[int]:
        """Return the prompt's token ids, begin token included, ready for the answer to follow.

        Raises:
            ContractError: the text contains one of the tokenizer's special tokens, which would
                end the turn early or forge another one.
        """
        instruction, text = self.render(row)
        found = [token for token in tokenizer.all_special_tokens if token in instruction + text]
        if found:
            raise ContractError(
                f"The text contains the special token {found[0]!r}: {text[:60]!r}.",
                fix="Remove it from the data; the model would read it as a control token.",
            )
        if self.form == "chat":
            if not tokenizer.chat_template:
                raise ContractError(
                    "The base model's tokenizer has no chat template.", fix="Use form 'plain'."
                )
            message = {"role": "user", "content": f"{instruction}\n\n{text}"}
            ids = tokenizer.apply_chat_template(
                [message], add_generation_prompt=True, tokenize=True, return_dict=False
            )
            return [int(token) for token in ids]
        body = tokenizer(
            PLAIN_SHAPE.format(instruction=instruction, input=text), add_special_tokens=False
        )["input_ids"]
        begin = tokenizer.bos_token_id
        return [*([] if begin is None else [begin]), *body]

    def answer(self, tokenizer: PreTrainedTokenizerBase, label: str) -> list[int]:
        """Return the answer's token ids, closed by the end token that generation stops on."""
        text = label if self.form == "chat" else f" {label}"
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.end_token(tokenizer)]

    def end_token(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Return the id that closes an answer: end of text, or end of turn in a chat.

        Raises:
            ContractError: there is none, or it is also the padding token, so that it could not be
                told from padding.
        """
        if self.form == "chat":
            empty = tokenizer.apply_chat_template(
                [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}],
                tokenize=True,
                return_dict=False,
            )
            special = set(tokenizer.all_special_ids)
            ends = [int(token) for token in empty if token in special]
            if not ends:
                raise ContractError("The chat template closes no turn with a special token.")
            end = ends[-1]
        elif tokenizer.eos_token_id is None:
            raise ContractError("The base model's tokenizer has no end-of-text token.")
        else:
            end = int(tokenizer.eos_token_id)
        if end == tokenizer.pad_token_id:
            raise ContractError(
                f"The end token {tokenizer.convert_ids_to_tokens(end)!r} is also the padding token.",
                fix="Give the tokenizer a padding token of its own.",
            )
        return end

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, row: Row | str, label: str
    ) -> EncodedExample:
        """Return the ids of one training example; only the answer and its end are trained."""
        return EncodedExample.of(self.prompt(tokenizer, row), self.answer(tokenizer, label))

    def decode(self, tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str | None:
        """Return the label that generated ``ids`` spell, or None when it is not one of ours.

        Only an exact answer counts: text after the end token is ignored, text around the label is
        not forgiven.
        """
        end = self.end_token(tokenizer)
        spoken = ids[: ids.index(end)] if end in ids else ids
        text = str(tokenizer.decode(spoken)).strip()
        return text if text in self.labels else None

    def _instruction_fields(self) -> list[str]:
        return [name for _, name, _, _ in string.Formatter().parse(self.instruction) if name]
