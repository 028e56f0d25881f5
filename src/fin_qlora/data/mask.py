"""One row as the model will see it: every token, and what it is there for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..prompts import Fitted, PromptContract
from ..prompts.tokens import ControlTokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: ``begin``, ``control`` and ``prompt`` are read, ``answer`` and ``end`` are trained, ``cut`` is
#: text that was left out.
Kind = Literal["begin", "control", "prompt", "cut", "answer", "end"]

#: Tokens that are decoded together at most: those of one character of several bytes.
_LONGEST_CHARACTER = 8


@dataclass(frozen=True)
class Piece:
    """The text of a token, or of the few that make one character; ``ids`` is empty for a cut."""

    kind: Kind
    text: str
    ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MaskedRow:
    """A row's tokens in order. ``row`` counts from 1, as in messages."""

    row: int
    answer: str
    pieces: tuple[Piece, ...]
    prompt_tokens: int
    trained_tokens: int
    cut_tokens: int
    cut_facts: int

    @property
    def tokens(self) -> int:
        """Return the number of tokens of prompt and answer."""
        return self.prompt_tokens + self.trained_tokens

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain JSON values."""
        return {
            "row": self.row,
            "answer": self.answer,
            "prompt_tokens": self.prompt_tokens,
            "trained_tokens": self.trained_tokens,
            "cut_tokens": self.cut_tokens,
            "cut_facts": self.cut_facts,
            "pieces": [
                {"kind": piece.kind, "text": piece.text, "ids": list(piece.ids)}
                for piece in self.pieces
            ],
        }


def mask_row(
    contract: PromptContract,
    tokenizer: PreTrainedTokenizerBase,
    row: Mapping[str, Any],
    *,
    number: int,
) -> MaskedRow:
    """Return what training makes of one row; ``number`` is its place in the data, from 1."""
    answer = contract.gold(row)
    (fitted,) = contract.fitted(tokenizer, [row], first=number)
    trained = contract.answer(tokenizer, answer)
    control = ControlTokens(tokenizer)
    prompt = [
        Piece(_prompt_kind(ids, place, control), text, ids)
        for place, (text, ids) in enumerate(_spelled(tokenizer, fitted.ids))
    ]
    answered = [Piece("answer", text, ids) for text, ids in _spelled(tokenizer, trained[:-1])]
    ((end_text, end_ids),) = _spelled(tokenizer, trained[-1:])
    return MaskedRow(
        row=number,
        answer=answer,
        pieces=(*_with_cuts(prompt, fitted), *answered, Piece("end", end_text, end_ids)),
        prompt_tokens=len(fitted.ids),
        trained_tokens=len(trained),
        cut_tokens=fitted.cut_tokens,
        cut_facts=fitted.cut_facts,
    )


def _prompt_kind(ids: Sequence[int], place: int, control: ControlTokens) -> Kind:
    if not control.count(ids):
        return "prompt"
    return "control" if place else "begin"


def _spelled(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the text of each token; tokens that are parts of one character stay together."""
    found: list[tuple[str, tuple[int, ...]]] = []
    waiting: list[int] = []
    for token in ids:
        waiting.append(int(token))
        text = str(tokenizer.decode(waiting, clean_up_tokenization_spaces=False))
        if "\ufffd" in text and len(waiting) < _LONGEST_CHARACTER:
            continue
        word = str(tokenizer.convert_ids_to_tokens(waiting[0]))
        if word.startswith("▁") and not text.startswith(" "):
            text = f" {text}"  # such tokenizers leave out the blank of a text's first word
        found.append((text, tuple(waiting)))
        waiting = []
    if waiting:
        text = str(tokenizer.decode(waiting, clean_up_tokenization_spaces=False))
        found.append((text, tuple(waiting)))
    return found


def _with_cuts(prompt: list[Piece], fitted: Fitted) -> list[Piece]:
    """Return the pieces with each passage that was left out, where it stood."""
    if fitted.text is None:
        return prompt
    whole = "".join(piece.text for piece in prompt)
    begin = whole.rfind(fitted.text.strip())
    blanks = len(fitted.text) - len(fitted.text.lstrip())
    waiting = [
        (begin + removed.at - blanks if begin >= 0 else len(whole), Piece("cut", removed.text, ()))
        for removed in fitted.removed
    ]
    result: list[Piece] = []
    at = 0
    for piece in prompt:
        while waiting and waiting[0][0] <= at:
            result.append(waiting.pop(0)[1])
        result.append(piece)
        at += len(piece.text)
    return [*result, *(cut for _, cut in waiting)]
