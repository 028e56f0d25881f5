"""How instruction and input stand in a prompt, as text."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from ..errors import ContractError

Form = Literal["plain", "chat"]
Row = Mapping[str, Any]

#: The paper's layout. It must not end in a blank: the answer brings its own.
PLAIN_SHAPE = "Instruction: {instruction}\nInput: {input}\nAnswer:"
#: What stands between one worked example and the next in the plain layout.
BETWEEN = "\n\n"


@dataclass(frozen=True)
class Question:
    """What the model is asked about one row: the instruction and the input, as text."""

    instruction: str
    input: str

    def plain(self) -> str:
        """Return the question in the plain layout."""
        return PLAIN_SHAPE.format(instruction=self.instruction, input=self.input)

    def user_turn(self) -> dict[str, str]:
        """Return the question as the user's message of a chat."""
        return {"role": "user", "content": f"{self.instruction}\n\n{self.input}"}


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A worked example in the prompt: a training row as it was asked, and its right answer."""

    instruction: str
    input: str
    answer: str

    @property
    def question(self) -> Question:
        """Return what is asked in this example."""
        return Question(self.instruction, self.input)

    @classmethod
    def from_dict(cls, values: Mapping[str, str]) -> Self:
        """Build the shot that a contract stored. Raises ContractError on unknown content."""
        if set(values) != {"instruction", "input", "answer"}:
            raise ContractError(
                f"A shot of the prompt contract has the fields {sorted(values)}.",
                fix="It was written by another version of fin-qlora.",
            )
        return cls(**values)


def template_fields(*templates: str) -> tuple[str, ...]:
    """Return the names in braces, in order of first use."""
    names = [name for template in templates for _, name, _, _ in string.Formatter().parse(template)]
    return tuple(dict.fromkeys(name for name in names if name))


def fill(row: Row | str, *, instruction: str, input_template: str) -> Question:
    """Return the question about a row. A plain string is taken as the whole input.

    Raises ContractError when the row lacks a field that a template names, or is a plain string
    although the instruction names fields.
    """
    if isinstance(row, str):
        if not row.strip():
            raise ContractError("A text is empty.", fix="Give every input some text.")
        unsaid = [name for name in template_fields(instruction) if name != "text"]
        if unsaid:
            raise ContractError(
                f"A plain text does not say what {unsaid} of the instruction are: {row[:60]!r}.",
                fix=f"Give a row with the fields {['text', *unsaid]}.",
            )
        return Question(instruction.format_map({"text": row}), row.strip())
    for name in template_fields(instruction, input_template):
        if name in row and (not isinstance(row[name], str) or not row[name].strip()):
            raise ContractError(
                f"The field '{name}' of a row is {row[name]!r}, which is no text.",
                fix="Give every input its text.",
            )
    try:
        return Question(instruction.format_map(row), input_template.format_map(row).strip())
    except KeyError:
        needed = template_fields(instruction, input_template)
        missing = [name for name in needed if name not in row]
        raise ContractError(
            f"A row needs the fields {list(needed)} but has {sorted(row)}.",
            fix=f"Add {missing}.",
        ) from None


def plain_text(shots: Sequence[Shot], question: Question) -> str:
    """Return a whole prompt as a person reads it, worked examples first (plain layout)."""
    worked = [f"{shot.question.plain()} {shot.answer}" for shot in shots]
    return BETWEEN.join([*worked, question.plain()])
