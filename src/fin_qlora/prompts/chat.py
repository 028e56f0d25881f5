"""The base's own chat template, without its traps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ContractError
from .layout import Question, Shot
from .tokens import ControlTokens, tokenise_one

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Templates of the Llama 3 family write a date into the prompt, some of them today's. A prompt that
#: changes overnight is not the one that was trained, so it is always the date of their release.
DATE = "26 Jul 2024"

Message = dict[str, str]


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ContractError when there is no chat template, or its prompts change with the clock."""
    template = tokenizer.chat_template
    if not template:
        raise ContractError(
            "The base model's tokenizer has no chat template.", fix="Use form 'plain'."
        )
    if "strftime_now" in str(template) and "date_string" not in str(template):
        raise ContractError(
            "The base model's chat template writes today's date into every prompt.",
            fix="Use form 'plain', or remove the date from chat_template.jinja.",
        )


def turns(shots: Sequence[Shot], question: Question) -> list[Message]:
    """Return the conversation up to the answer that is wanted."""
    worked = [
        message
        for shot in shots
        for message in (
            shot.question.user_turn(),
            {"role": "assistant", "content": shot.answer},
        )
    ]
    return [*worked, question.user_turn()]


def rendered(
    tokenizer: PreTrainedTokenizerBase, conversations: Sequence[list[Message]], *, open_turn: bool
) -> list[str]:
    """Return each conversation as text; with ``open_turn`` it ends where the assistant speaks."""
    if not conversations:
        return []
    return tokenizer.apply_chat_template(
        list(conversations), tokenize=False, add_generation_prompt=open_turn, date_string=DATE
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase, control: ControlTokens) -> int:
    """Return the control token that the template puts behind an assistant's answer."""
    check_template(tokenizer)
    said = "!"
    conversation = [*turns((), Question("?", "?")), {"role": "assistant", "content": said}]
    (text,) = rendered(tokenizer, [conversation], open_turn=False)
    end = control.first(tokenise_one(tokenizer, text.rpartition(said)[2]))
    if end is None:
        raise ContractError("The chat template closes no turn with a special token.")
    return end
