"""What all prompts of a call begin with, so that it is read once and not with every row."""

from __future__ import annotations

from collections.abc import Sequence

#: Fewer rows, or fewer tokens in common, than these are not worth a pass of their own.
ROWS, TOKENS = 4, 8


def shared_beginning(prompts: Sequence[list[int]]) -> list[int]:
    """Return the tokens that all prompts begin with, or none where reading them once gains nothing.

    Every prompt keeps at least its last token.
    """
    if len(prompts) < ROWS:
        return []
    # what the first and the last in order share, all between them share
    first, last = min(prompts), max(prompts)
    pairs = enumerate(zip(first, last, strict=False))
    common = next((at for at, (a, b) in pairs if a != b), min(len(first), len(last)))
    length = min(common, min(map(len, prompts)) - 1)
    return first[:length] if length >= TOKENS else []
