"""Making an input shorter: what is left out, and how much of it is enough.

Nothing here knows a tokenizer. A search is a generator: it yields a text, is sent the number of
tokens that the whole prompt would have with it, and returns the longest text that it found to fit.
So that many searches can go on side by side, their texts tokenised together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import ContractError

OnOverlong = Literal["raise", "shorten", "drop", "shorten_or_drop"]

#: Stands where text was taken out of the middle.
MARK = "[...]"

#: Name of the row field that lists the segments of ``text`` which may be left out.
FACTS = "facts"

#: A word with the blanks before it; a longer run without blanks comes in parts. Scripts that put
#: no blanks between words (those of East Asia) come letter by letter.
_PIECE = re.compile(r"\s*(?:[^\s\u2e80-\U0010ffff]{1,24}|\S)")
#: The end of a sentence or line.
_STOP = re.compile(r"(?<=[.!?;])\s+|[ \t]*\n\s*")
#: How much of either side may be given up to end it at a sentence or line.
_GIVEN_UP = 0.25


@dataclass(frozen=True)
class Removed:
    """A passage that was left out, and where in the shortened text it stood (characters)."""

    at: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Shortened:
    """A text that fits, and what was taken out of it; ``facts`` counts whole facts."""

    text: str
    removed: tuple[Removed, ...] = ()
    facts: int = 0


Search = Generator[str, int, Shortened | None]
Candidate = Callable[[int], Shortened]


def shortening(text: str, *, facts: Sequence[Mapping[str, Any]], limit: int) -> Search:
    """Search for the longest version of ``text`` whose prompt has at most ``limit`` tokens.

    Facts that need not be kept go first, from the middle of their list outwards. A text without
    such a list loses whole words from its middle, where it can from one sentence or line end to
    another. Returns None when neither is enough.

    Args:
        facts: ``{"text": a passage of the text, "keep": whether it must stay}`` in the order in
            which they stand in the text. When it is not empty nothing else is ever left out.
    """
    if facts:
        droppable = _spans(text, facts)
        count = yield from _fewest(
            lambda n: _without(text, droppable[:n]), most=len(droppable), limit=limit
        )
        return None if count is None else _without(text, droppable[:count])
    ends = _word_ends(text)

    def gap(left_out: int) -> tuple[int, int]:
        kept = len(ends) - left_out
        return ends[(kept + 1) // 2 - 1], ends[len(ends) - kept // 2 - 1]

    # at least the first and the last word stay
    count = yield from _fewest(
        lambda n: _without_middle(text, *gap(n)), most=len(ends) - 2, limit=limit
    )
    if count is None:
        return None
    found = _without_middle(text, *gap(count))
    tidy = _without_middle(text, *_at_sentences(text, *gap(count)))
    return tidy if tidy != found and (yield tidy.text) <= limit else found


def _fewest(candidate: Candidate, *, most: int, limit: int) -> Generator[str, int, int | None]:
    """Return the smallest number in 1..most that was seen to fit.

    Alternates between guessing in proportion and halving: few tries for usual texts, and never
    more than twice those of halving. Only what was measured is returned.
    """
    if most < 1:
        return None
    fits, least = most, (yield candidate(most).text)
    if least > limit:
        return None
    over, longest = 0, 0
    proportion = True
    while fits - over > 1:
        middle = (over + fits) // 2
        if proportion and longest > least:
            guess = over + (fits - over) * (longest - limit) / (longest - least)
            middle = min(max(round(guess), over + 1), fits - 1)
        proportion = not proportion
        tokens = yield candidate(middle).text
        if tokens <= limit:
            fits, least = middle, tokens
        else:
            over, longest = middle, tokens
    return fits


def _word_ends(text: str) -> list[int]:
    return [piece.end() for piece in _PIECE.finditer(text)]


def _without_middle(text: str, end: int, start: int) -> Shortened:
    head, tail = text[:end].rstrip(), text[start:].strip()
    removed = Removed(len(head) + 1, text[end:start].strip())
    return Shortened(text=f"{head} {MARK} {tail}", removed=(removed,))


def _at_sentences(text: str, end: int, start: int) -> tuple[int, int]:
    """Return the gap widened to a sentence or line end on each side that has one near."""
    stops = [stop.start() for stop in _STOP.finditer(text, 0, end)]
    if stops and stops[-1] >= end * (1 - _GIVEN_UP):
        end = stops[-1]
    stop = _STOP.search(text, start)
    if stop and stop.end() - start <= (len(text) - start) * _GIVEN_UP:
        start = stop.end()
    return end, start


def _spans(text: str, facts: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return where the facts that may go stand in the text, in the order in which they go."""
    spans, at = [], 0
    for number, fact in enumerate(facts, start=1):
        start = text.find(str(fact["text"]), at)
        if start < 0 or not fact["text"]:
            raise ContractError(
                f"Fact {number} of a row does not stand in its text after the one before it: "
                f"{str(fact['text'])[:60]!r}.",
                fix=f"List '{FACTS}' in the order in which they stand in 'text', word for word.",
            )
        at = start + len(str(fact["text"]))
        if not fact["keep"]:
            spans.append((start, at))
    middle = (len(spans) - 1) / 2
    order = sorted(range(len(spans)), key=lambda i: (abs(i - middle), i))
    return [spans[i] for i in order]


def _without(text: str, spans: Sequence[tuple[int, int]]) -> Shortened:
    kept: list[str] = []
    removed: list[Removed] = []
    at = length = 0
    for start, end in sorted(spans):
        kept.append(text[at:start])
        length += start - at
        removed.append(Removed(length, text[start:end]))
        # with the rest of its line, so that no empty line stays
        line = re.compile(r"[ \t]*\r?\n").match(text, end)
        at = line.end() if line else end
    return Shortened(text="".join([*kept, text[at:]]), removed=tuple(removed), facts=len(spans))
