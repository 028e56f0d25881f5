"""Saved answers, and what a scorer makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...prompts.answers import Grammar


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Answers of one task as they were written, with what they are to be held against.

    Attributes:
        labels: the labels to choose from; empty where answers are free.
        grammar: what an answer must keep to.
        texts: what was written, a text a row.
        rows: the fields of each row; ``label`` is the right answer.
    """

    task: str
    labels: tuple[str, ...]
    grammar: Grammar
    texts: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def golds(self) -> list[str]:
        """Return the right answers, one a row."""
        return [str(row["label"]) for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a scorer makes of saved answers.

    Attributes:
        n: rows that were given; ``scored`` of them count.
        right: whether a row's answer is right; None for a row that is not counted.
        read: the answer or the class that was read in each text; None where none was.
        accuracy: right answers / rows that count.
        weighted_f1: None where there are no classes.
        invalid: rows that count and whose text was not read.
        bounds: accuracies between which it stays where the scorer leaves some of it to chance.
    """

    scorer: str
    n: int
    scored: int
    right: tuple[bool | None, ...]
    read: tuple[str | None, ...]
    accuracy: float
    weighted_f1: float | None
    invalid: int
    bounds: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return all but the rows as plain JSON values."""
        rows = ("right", "read")
        return {name: value for name, value in asdict(self).items() if name not in rows}


def saved_answers(
    task: str,
    *,
    labels: Sequence[str],
    grammar: Grammar,
    rows: Sequence[Mapping[str, Any]],
) -> Saved:
    """Take the answers out of per-row results.

    A row has ``gold`` and ``output``; where nothing was written, because labels were scored by
    their likelihood, the ``predicted`` label counts as what was written.
    """
    texts = [
        row["output"] if row.get("output") is not None else row.get("predicted") for row in rows
    ]
    return Saved(
        task=task,
        labels=tuple(labels),
        grammar=grammar,
        texts=tuple(str(text or "") for text in texts),
        rows=tuple({**row, "label": row["gold"]} for row in rows),
    )
