"""Two ways to answer the same rows, compared: the likeliest label, and the label written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .statistics import mcnemar


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two ways of answering agree.

    Attributes:
        n: rows.
        differ: numbers of the rows, from 1, on which the two give other labels.
        only_likelihood: rows that are right by likelihood alone; ``only_generated`` the others.
        p_value: of McNemar's exact test that neither way is right more often.
    """

    n: int
    differ: tuple[int, ...]
    only_likelihood: int
    only_generated: int
    p_value: float

    @property
    def share(self) -> float:
        """The share of rows on which both give the same label."""
        return 1 - len(self.differ) / self.n

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "agreement": self.share,
            "differ": list(self.differ),
            "only_likelihood_right": self.only_likelihood,
            "only_generated_right": self.only_generated,
            "p_value": self.p_value,
        }


def agreement(
    gold: Sequence[str], by_likelihood: Sequence[str], generated: Sequence[str]
) -> Agreement:
    """Compare the labels that two ways of answering give to the same rows."""
    test = mcnemar(
        [one == right for one, right in zip(by_likelihood, gold, strict=True)],
        [one == right for one, right in zip(generated, gold, strict=True)],
    )
    pairs = enumerate(zip(by_likelihood, generated, strict=True), start=1)
    return Agreement(
        n=len(gold),
        differ=tuple(number for number, (one, other) in pairs if one != other),
        only_likelihood=test.only_a,
        only_generated=test.only_b,
        p_value=test.p_value,
    )
