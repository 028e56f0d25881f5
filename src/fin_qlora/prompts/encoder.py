"""Questions and answers become token ids: one layout, one tokenizer, many rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import ContractError
from . import chat
from .layout import BETWEEN, Form, Question, Shot
from .shared_prefix import cuts_at_line_breaks, tokenise_together
from .tokens import ControlTokens, tokenise, tokenise_one

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PromptEncoder:
    """What is the same for every row under one tokenizer, worked out once.

    Args:
        tokenizer: of the base.
        form: the layout.
        shots: the worked examples that every prompt begins with.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, form: Form, shots: Sequence[Shot]
    ) -> None:
        self.tokenizer = tokenizer
        self.control = ControlTokens(tokenizer)
        self._form = form
        self._shots = tuple(shots)
        if form == "chat":
            chat.check_template(tokenizer)

    def prompt(self, question: Question) -> list[int]:
        """Return the prompt's ids, begin token included, ready for the answer to follow."""
        (text,) = self._texts([question])
        return self._checked([question], [tokenise_one(self.tokenizer, text)])[0]

    def prompts(self, questions: Sequence[Question]) -> list[list[int]]:
        """Return the prompts' ids, the very ids of ``prompt``, many times faster."""
        texts = self._texts(questions)
        ids = tokenise_together(self.tokenizer, texts, cuts_are_safe=self._cuts_are_safe)
        return self._checked(questions, ids)

    def answers(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each answer, closed by the end token."""
        for text in texts:
            if not text or text != text.strip():
                raise ContractError(
                    f"The answer {text!r} is empty or has blanks at its ends.",
                    fix="Remove the blanks; give every row an answer.",
                )
            self.control.refuse_in(text)
        written = texts if self._form == "chat" else [f" {text}" for text in texts]
        ids = tokenise(self.tokenizer, written)
        for text, answer in zip(texts, ids, strict=True):
            self.control.refuse_more_than(0, answer, text=text)
            if not answer:
                raise ContractError(f"The tokenizer cannot write the answer {text!r}.")
        end = self.end
        return [[*answer, end] for answer in ids]

    @cached_property
    def end(self) -> int:
        """Return the id that closes an answer: end of text, or end of turn in a chat.

        Raises:
            ContractError: there is none, or it is also the padding token, so that it could not be
                told from padding.
        """
        if self._form == "chat":
            end = chat.end_of_turn(self.tokenizer, self.control)
        elif self.tokenizer.eos_token_id is None:
            raise ContractError("The base model's tokenizer has no end-of-text token.")
        else:
            end = int(self.tokenizer.eos_token_id)
        if end == self.tokenizer.pad_token_id:
            name = self.tokenizer.convert_ids_to_tokens(end)
            raise ContractError(
                f"The end token {name!r} is also the padding token.",
                fix="Give the tokenizer a padding token of its own.",
            )
        return end

    def _texts(self, questions: Sequence[Question]) -> list[str]:
        for question in questions:
            self.control.refuse_in(question.instruction)
            self.control.refuse_in(question.input)
        if self._form == "plain":
            return [question.plain() for question in questions]
        conversations = [chat.turns(self._shots, question) for question in questions]
        return chat.rendered(self.tokenizer, conversations, open_turn=True)

    def _checked(
        self, questions: Sequence[Question], bodies: Sequence[list[int]]
    ) -> list[list[int]]:
        for question, ids in zip(questions, bodies, strict=True):
            self.control.refuse_more_than(
                self._control_tokens_of_the_layout, ids, text=question.input
            )
        opening = self._opening
        return [opening + ids for ids in bodies] if opening else list(bodies)

    @cached_property
    def _cuts_are_safe(self) -> bool:
        return cuts_at_line_breaks(self.tokenizer)

    @cached_property
    def _control_tokens_of_the_layout(self) -> int:
        if self._form == "plain":
            return 0
        conversation = chat.turns(self._shots, Question("?", "?"))
        (text,) = chat.rendered(self.tokenizer, [conversation], open_turn=True)
        return self.control.count(tokenise_one(self.tokenizer, text))

    @cached_property
    def _opening(self) -> list[int]:
        """Return the begin token and, in the plain layout, the worked examples.

        They are joined as ids, so that an answer there is spelled as the trained one is.
        """
        if self._form == "chat":
            return []
        begin = self.tokenizer.bos_token_id
        ids = [] if begin is None else [int(begin)]
        for shot in self._shots:
            ids += tokenise_one(self.tokenizer, shot.question.plain())
            ids += tokenise_one(self.tokenizer, f" {shot.answer}")
            ids += tokenise_one(self.tokenizer, BETWEEN)
        return ids
