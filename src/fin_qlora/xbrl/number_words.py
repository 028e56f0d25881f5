"""English number words as filings spell them: "no", "Thirteen", "two hundred and fifty"."""

from __future__ import annotations

import re
from typing import Final

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL: Final = {
    **{word: number for number, word in enumerate(_ONES)},
    **{word: 10 * number for number, word in enumerate(_TENS, start=2)},
}
_LARGE: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def from_words(text: str) -> int | None:
    """Return the whole number that the words spell, None when they spell none."""
    if len(text) > 200:
        return None
    words = [word for word in re.split(r"[\s-]+", text.strip().lower()) if word]
    if words in (["no"], ["none"], ["nil"]):
        return 0
    total = group = 0
    spoken = False
    for position, word in enumerate(words):
        if word == "and" and 0 < position < len(words) - 1:
            continue
        if word in _SMALL:
            number = _SMALL[word]
            if spoken and group % 100 and not (group % 10 == 0 and 0 < number < 10):
                return None
            group += number
        elif word == "hundred" and 0 < group < 100:
            group *= 100
        elif word in _LARGE and group:
            if total and total % (_LARGE[word] * 1000):
                return None
            total, group = total + group * _LARGE[word], 0
        elif word == "a" and position == 0 and len(words) > 1:
            group = 1
        else:
            return None
        spoken = True
    return total + group if spoken else None
