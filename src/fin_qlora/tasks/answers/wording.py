"""Answers in prose, compared by their words."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from .outcome import said

_WORD = re.compile(r"\w+(?:[.,]\w+)*")
_ARTICLES: Final = frozenset({"a", "an", "the"})


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without articles and punctuation."""
    return [word for word in _WORD.findall(said(text).lower()) if word not in _ARTICLES]


def token_f1(text: str, expected: str) -> float:
    """Return the F1 of the words of an answer against those of the right one, a share of one.

    Words are counted, their order is not looked at, as in the scoring of SQuAD (arXiv 1606.05250,
    section 6.1). Two texts without a word are alike.
    """
    given, wanted = Counter(words_of(text)), Counter(words_of(expected))
    if not given or not wanted:
        return float(given == wanted)
    common = (given & wanted).total()
    return 2 * common / (given.total() + wanted.total())
