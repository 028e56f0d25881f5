"""Prompts that are too long, made to fit side by side."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TruncatedAnswerError
from .encoder import PromptEncoder
from .layout import Question, Row
from .shorten import FACTS, Removed, Search, Shortened, shortening


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A prompt's ids and what was cut out of its row to make it fit.

    Args:
        cut_tokens: how many tokens shorter the prompt became.
        cut_facts: how many distractor facts were left out.
        text: the shortened text, or None when the row is whole.
        removed: the passages that were left out.
    """

    ids: list[int]
    cut_tokens: int = 0
    cut_facts: int = 0
    text: str | None = None
    removed: tuple[Removed, ...] = ()


def fit(
    whole: Sequence[Fitted],
    rows: Sequence[Row | str],
    *,
    encoder: PromptEncoder,
    ask: Callable[[Row | str], Question],
    room: int,
    first: int,
    leave: bool = False,
) -> list[Fitted]:
    """Return the prompts with those of more than ``room`` tokens shortened.

    Args:
        whole: the prompts as they are.
        ask: returns the question about a row.
        first: number of the first row, for messages.
        leave: return a prompt that cannot be shortened enough as it is.

    Raises:
        TruncatedAnswerError: what must stay in a row does not fit, and ``leave`` is False.
    """
    result = list(whole)
    searches: dict[int, Search] = {}
    pending: dict[int, Question] = {}
    for number, one in enumerate(whole):
        if len(one.ids) > room:
            searches[number] = _search(rows[number], room)

    def step(number: int, tokens: int | None) -> None:
        """Send a search the length it asked for; note what it asks for next, or its end."""
        search = searches[number]
        try:
            text = next(search) if tokens is None else search.send(tokens)
        except StopIteration as end:
            pending.pop(number, None)
            if end.value is not None or not leave:
                result[number] = _finished(
                    end.value, whole[number], number=first + number, room=room
                )
        else:
            pending[number] = ask(_with_text(rows[number], text))

    for number in searches:
        step(number, None)
    while pending:
        asked = list(pending)
        for number, found in zip(asked, encoder.prompts(list(pending.values())), strict=True):
            step(number, len(found))
    shortened = [number for number in searches if result[number].text is not None]
    questions = [ask(_with_text(rows[number], str(result[number].text))) for number in shortened]
    for number, found in zip(shortened, encoder.prompts(questions), strict=True):
        one = result[number]
        result[number] = Fitted(
            ids=found,
            cut_tokens=len(one.ids) - len(found),
            cut_facts=one.cut_facts,
            text=one.text,
            removed=one.removed,
        )
    return result


def _search(row: Row | str, room: int) -> Search:
    if isinstance(row, str):
        return shortening(row, facts=(), limit=room)
    return shortening(str(row["text"]), facts=_facts(row), limit=room)


def _facts(row: Row) -> list[Mapping[str, Any]]:
    """Return the row's facts; tables hold them as JSON text."""
    facts = row.get(FACTS) or []
    return json.loads(facts) if isinstance(facts, str) else list(facts)


def _with_text(row: Row | str, text: str) -> Row | str:
    return text if isinstance(row, str) else {**row, "text": text}


def _finished(found: Shortened | None, whole: Fitted, *, number: int, room: int) -> Fitted:
    if found is None:
        raise TruncatedAnswerError(
            f"Row {number} has a prompt of {len(whole.ids)} tokens and cannot be shortened to "
            f"the {room} that are left beside the answer.",
            fix="Raise max_length, use fewer shots, or set on_overlong to shorten_or_drop.",
        )
    return Fitted(ids=whole.ids, cut_facts=found.facts, text=found.text, removed=found.removed)
