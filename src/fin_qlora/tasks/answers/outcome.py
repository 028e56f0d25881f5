"""What became of one answer: a class for the report, and whether it counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

#: ``exact`` counts. ``rounded`` counts in the second column. ``scale`` (off by 100, 1,000, a
#: million or a billion) and ``sign`` say what went wrong. ``none``: nothing could be read.
Outcome: TypeAlias = Literal["exact", "rounded", "scale", "sign", "wrong", "none"]

_ANSWER = re.compile(r"\s*answer\s*:", re.IGNORECASE)
#: Longer outputs hold an explanation, which is no answer.
LONGEST: Final = 2000


@dataclass(frozen=True)
class Score:
    """The outcome of one answer, what was read in it, and what was odd about its form."""

    outcome: Outcome
    read: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def correct(self) -> bool:
        """Say whether the answer counts in the headline accuracy."""
        return self.outcome == "exact"

    @property
    def correct_when_rounded(self) -> bool:
        """Say whether the answer counts in the second column, which forgives rounding."""
        return self.outcome in ("exact", "rounded")


def said(text: str) -> str:
    """Return what a model said after an optional "Answer:", without blanks around it."""
    found = _ANSWER.match(text)
    return text[found.end() :].strip() if found else text.strip()
