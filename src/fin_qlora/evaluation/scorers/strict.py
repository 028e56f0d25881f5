"""The strict scorer: an answer is what the task's grammar reads in the text, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import EmptyDatasetError
from ...tasks.grammar import ANSWERS
from ...tasks.scoring import SCORERS
from ..metrics import label_scores
from .judged import Judged, Saved

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...tasks.answers import Score


def strict(saved: Saved) -> Judged:
    """Judge by the task's own reading: every row counts, and what cannot be read is wrong.

    Raises EmptyDatasetError when there is no row.
    """
    if not saved.rows:
        raise EmptyDatasetError("There is no row to score.")
    if saved.labels:
        read = [read_label(text, saved) for text in saved.texts]
        scores = label_scores(saved.golds, read, labels=saved.labels)
        right = [one == gold for one, gold in zip(read, saved.golds, strict=True)]
        weighted: float | None = scores.weighted_f1
        invalid = scores.invalid
    else:
        found = [score(text, row, saved) for text, row in zip(saved.texts, saved.rows, strict=True)]
        read = [one.read for one in found]
        right = [one.correct for one in found]
        weighted = None
        invalid = sum(one.outcome == "none" for one in found)
    return Judged(
        scorer="strict",
        n=len(right),
        scored=len(right),
        right=tuple(right),
        read=tuple(read),
        accuracy=sum(right) / len(right),
        weighted_f1=weighted,
        invalid=invalid,
    )


def read_label(text: str, saved: Saved) -> str | None:
    """Return the label that the whole text is, or None."""
    return ANSWERS["label"](text, saved.labels)


def score(text: str, row: Mapping[str, Any], saved: Saved) -> Score:
    """Return what became of a free answer."""
    return SCORERS[saved.grammar](text, str(row["label"]), row)
