"""The one object that turns an example into token ids; its digest travels with the adapter."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, get_args

from ..errors import ContractError, UnknownLabelError
from ..files import sha256_json
from .answers import ANSWER_TOKENS, Grammar, check_labels
from .encoder import PromptEncoder
from .example import IGNORED, EncodedExample
from .fitting import Fitted, fit
from .layout import PLAIN_SHAPE, Form, Question, Row, Shot, fill, plain_text, template_fields

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["ANSWER_TOKENS", "IGNORED", "PLAIN_SHAPE", "EncodedExample", "Grammar", "PromptContract"]


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
        labels: the answers, in a fixed order; empty where answers are free.
        grammar: ``label``, or the kind of free answer.
        shots: worked examples that every prompt begins with.
        shorten_to: tokens that prompt and answer have together at most; a longer row loses the
            middle of its ``text``. None: no row is ever shortened.
        answer_tokens: room for a free answer, its end token included, where the usual room of its
            kind (``ANSWER_TOKENS``) is not enough.
    """

    form: Form = "plain"
    instruction: str
    input_template: str = "{text}"
    labels: tuple[str, ...] = ()
    grammar: Grammar = "label"
    shots: tuple[Shot, ...] = ()
    shorten_to: int | None = None
    answer_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.form not in get_args(Form):
            raise ContractError(
                f"The prompt form '{self.form}' does not exist.", fix="Use 'plain' or 'chat'."
            )
        if self.grammar not in get_args(Grammar):
            raise ContractError(
                f"The answer grammar '{self.grammar}' does not exist.",
                fix=f"Use one of {', '.join(get_args(Grammar))}.",
            )
        if self.grammar == "label":
            check_labels(self.labels)
        elif self.labels:
            raise ContractError(
                f"Answers of the kind '{self.grammar}' are free, but there are labels.",
                fix="Leave out the labels, or use grammar 'label'.",
            )
        if self.answer_tokens is not None and (self.grammar == "label" or self.answer_tokens < 2):
            raise ContractError(
                f"answer_tokens is {self.answer_tokens} for answers of the kind '{self.grammar}'.",
                fix="It is for free answers, and at least 2: a token and the end token.",
            )
        if self.shorten_to is not None and (
            self.shorten_to < 1 or "text" not in template_fields(self.input_template)
        ):
            raise ContractError(
                f"Rows cannot be shortened to {self.shorten_to} tokens by the input template "
                f"{self.input_template!r}.",
                fix="What is shortened is the field {text}; the limit is at least 1.",
            )
        for shot in self.shots:
            self.check_answer(shot.answer)

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 over everything that shapes a prompt or an answer."""
        return sha256_json(self.to_dict())

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Return the row fields that a prompt needs, in order of first use."""
        return template_fields(self.instruction, self.input_template)

    @property
    def bare(self) -> Self:
        """Return the contract as the task gives it: without shots, nothing shortened."""
        return dataclasses.replace(self, shots=(), shorten_to=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the contract as plain JSON values; ``from_dict`` reads them back.

        What is not used is left out, so that a contract keeps its digest when later versions of
        this package learn to do more.
        """
        values: dict[str, Any] = {
            "form": self.form,
            "instruction": self.instruction,
            "input_template": self.input_template,
            "labels": list(self.labels),
            "shape": PLAIN_SHAPE if self.form == "plain" else "chat_template",
        }
        if self.grammar != "label":
            values["grammar"] = self.grammar
        if self.shots:
            values["shots"] = [dataclasses.asdict(shot) for shot in self.shots]
        for name in ("shorten_to", "answer_tokens"):
            if getattr(self, name) is not None:
                values[name] = getattr(self, name)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the contract that ``to_dict`` wrote. Raises ContractError on unknown content."""
        needed = {"form", "instruction", "input_template", "labels", "shape"}
        known = needed | {"grammar", "shots", "shorten_to", "answer_tokens"}
        odd = sorted((set(values) - known) | (needed - set(values)))
        if odd:
            raise ContractError(
                f"The prompt contract has unexpected or missing fields {odd}.",
                fix="It was written by another version of fin-qlora.",
            )
        given = {name: values[name] for name in known - {"shape"} if name in values}
        given["labels"] = tuple(values["labels"])
        given["shots"] = tuple(map(Shot.from_dict, values.get("shots", ())))
        contract = cls(**given)
        if contract.to_dict()["shape"] != values["shape"]:
            raise ContractError("The prompt contract was made for another prompt layout.")
        return contract

    def question(self, row: Row | str) -> Question:
        """Return what is asked about a row. A plain string is taken as the whole input."""
        return fill(row, instruction=self.instruction, input_template=self.input_template)

    def render(self, row: Row | str) -> tuple[str, str]:
        """Return (instruction, input) as text. A plain string is taken as the whole input."""
        question = self.question(row)
        return question.instruction, question.input

    def prompt_text(self, row: Row | str) -> str:
        """Return the prompt as a person reads it, without special tokens (``plain`` layout)."""
        return plain_text(self.shots, self.question(row))

    def gold(self, row: Row) -> str:
        """Return the right answer of a row, its field ``label``.

        Raises:
            UnknownLabelError: it is none of the labels, or there is none.
        """
        answer = row.get("label")
        if not isinstance(answer, str):
            raise UnknownLabelError(
                f"A row has no answer: its fields are {sorted(row)}.",
                fix="Put the answer into the field 'label', as text.",
            )
        self.check_answer(answer)
        return answer

    def check_answer(self, answer: str) -> None:
        """Raise UnknownLabelError when there are labels and ``answer`` is none of them."""
        if self.grammar == "label" and answer not in self.labels:
            raise UnknownLabelError(
                f"The answer {answer!r} is none of the labels.",
                fix=f"The labels are {', '.join(self.labels)}.",
            )

    def encoder(self, tokenizer: PreTrainedTokenizerBase) -> PromptEncoder:
        """Return what turns questions and answers into ids under one tokenizer."""
        return PromptEncoder(tokenizer, form=self.form, shots=self.shots)

    def prompt(self, tokenizer: PreTrainedTokenizerBase, row: Row | str) -> list[int]:
        """Return the prompt's token ids, begin token included, ready for the answer to follow.

        Raises:
            ContractError: the text contains one of the tokenizer's special tokens, which would
                end the turn early or forge another one.
            TruncatedAnswerError: the row cannot be shortened enough.
        """
        if self.shorten_to is not None:
            return self.fitted(tokenizer, [row])[0].ids
        return self.encoder(tokenizer).prompt(self.question(row))

    def prompts(
        self, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row | str]
    ) -> list[list[int]]:
        """Return the prompt of each row, the very ids of ``prompt``, on all cores."""
        return [one.ids for one in self.fitted(tokenizer, rows)]

    def fitted(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Sequence[Row | str],
        *,
        first: int = 1,
        leave: bool = False,
    ) -> list[Fitted]:
        """Return the prompt of each row, shortened where the contract says so, and what was cut.

        Args:
            first: the number of the first row, for messages.
            leave: return a prompt that cannot be shortened enough as it is.
        """
        encoder = self.encoder(tokenizer)
        questions = [self.question(row) for row in rows]
        whole = [Fitted(ids=ids) for ids in encoder.prompts(questions)]
        if self.shorten_to is None:
            return whole
        room = self.shorten_to - self.answer_room(tokenizer)
        return fit(
            whole, rows, encoder=encoder, ask=self.question, room=room, first=first, leave=leave
        )

    def answer_room(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Return the tokens that an answer may have, its end token included.

        It is the same for every row, so that the length of a shortened prompt says nothing about
        its answer.
        """
        if self.grammar == "label":
            return max(map(len, self.answers(tokenizer, self.labels)))
        return self.answer_tokens or ANSWER_TOKENS[self.grammar]

    def answer(self, tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
        """Return the answer's token ids, closed by the end token that generation stops on."""
        return self.answers(tokenizer, [text])[0]

    def answers(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each answer, closed by the end token that generation stops on.

        Raises:
            UnknownLabelError: there are labels, and an answer is none of them.
            ContractError: an answer is empty or holds a special token.
        """
        for text in texts:
            self.check_answer(text)
        return self.encoder(tokenizer).answers(texts)

    def end_token(self, tokenizer: PreTrainedTokenizerBase) -> int:
        """Return the id that closes an answer: end of text, or end of turn in a chat.

        Raises:
            ContractError: there is none, or it is also the padding token, so that it could not be
                told from padding.
        """
        return self.encoder(tokenizer).end

    def stop_tokens(
        self, tokenizer: PreTrainedTokenizerBase, also: Iterable[int] = ()
    ) -> tuple[int, ...]:
        """Return the ids on which generation stops: the trained end, then the base's own.

        Args:
            also: the ``eos_token_id`` of the base's generation settings.

        Raises:
            ContractError: the padding token is one of them.
        """
        own = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        stops = tuple(dict.fromkeys([self.end_token(tokenizer), *also, *own]))
        if tokenizer.pad_token_id in stops:
            name = tokenizer.convert_ids_to_tokens(tokenizer.pad_token_id)
            raise ContractError(
                f"The padding token {name!r} is one on which generation stops.",
                fix="Give the tokenizer a padding token of its own.",
            )
        return stops

    def encode(
        self, tokenizer: PreTrainedTokenizerBase, row: Row | str, answer: str
    ) -> EncodedExample:
        """Return the ids of one training example; only the answer and its end are trained."""
        return EncodedExample.of(self.prompt(tokenizer, row), self.answer(tokenizer, answer))

    def decode(self, tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str | None:
        """Return the answer that generated ``ids`` spell, or None when it is not one of ours.

        Only an exact label counts: text after the end token is ignored, text around the label is
        not forgiven. A free answer is returned as it stands, without blanks at its ends; None when
        it is empty.
        """
        end = self.end_token(tokenizer)
        spoken = ids[: ids.index(end)] if end in ids else ids
        text = str(tokenizer.decode(spoken, clean_up_tokenization_spaces=False)).strip()
        if self.grammar == "label":
            return text if text in self.labels else None
        return text or None
