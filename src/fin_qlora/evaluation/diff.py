"""The rows on which two runs differ, and whether that is more than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import DataError, EmptyDatasetError
from ..files import write_bytes
from .intervals import FEW, Interval
from .statistics import McNemar, mcnemar, paired_difference

#: What a run adds to a row; everything else is the row's own.
RESULT_COLUMNS: Final = frozenset(
    "predicted generated parsed output scores log_likelihoods outcome flags finished seconds "
    "prompt_digest".split()
)
#: Fields that depend on how a row was asked, not on what it asks.
_NOT_THE_QUESTION: Final = frozenset({"options"})


@dataclass(frozen=True, kw_only=True)
class Flip:
    """A row that one run has right and the other wrong; ``row`` is its number in A, from 1."""

    row: int
    gold: str
    a: str | None
    b: str | None
    to_right: bool
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What changes between run A and run B of one task, on the same rows.

    Attributes:
        accuracy_a, accuracy_b: shares of right answers.
        gain: accuracy of B less that of A, with its cluster bootstrap interval in ``interval``.
        test: McNemar's, over rows as if they were independent.
        flips: rows that only one of them has right, in the order of run A.
        changed: rows with another answer that is as wrong, or as right, as the first.
    """

    task: str
    n: int
    accuracy_a: float
    accuracy_b: float
    gain: float
    interval: Interval
    test: McNemar
    flips: tuple[Flip, ...]
    changed: int

    @property
    def wrong_to_right(self) -> int:
        """Return the number of rows that only B has right."""
        return self.test.only_b

    @property
    def right_to_wrong(self) -> int:
        """Return the number of rows that only A has right."""
        return self.test.only_a

    @property
    def few_clusters(self) -> bool:
        """Say whether there are too few clusters for a sound interval."""
        return (self.interval.clusters or 0) < FEW

    def to_dict(self) -> dict[str, Any]:
        """Return all but the flips as plain JSON values."""
        return {
            "task": self.task,
            "n": self.n,
            "accuracy_a": self.accuracy_a,
            "accuracy_b": self.accuracy_b,
            "gain": self.gain,
            "interval": self.interval.to_dict(),
            "few_clusters": self.few_clusters,
            "mcnemar": self.test.to_dict(),
            "wrong_to_right": self.wrong_to_right,
            "right_to_wrong": self.right_to_wrong,
            "changed": self.changed,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the flips as rows: the row's own fields, and what became of it."""
        return [
            {
                **one.fields,
                "task": self.task,
                "row": one.row,
                "gold": one.gold,
                "a": one.a,
                "b": one.b,
                "flip": "wrong to right" if one.to_right else "right to wrong",
            }
            for one in self.flips
        ]


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The rows of one run, with what was answered and whether that is right."""

    rows: Sequence[Mapping[str, Any]]
    answers: Sequence[str | None]
    right: Sequence[bool]


def difference(
    task: str, a: Marked, b: Marked, *, clusters: Sequence[int], seed: int = 0
) -> Difference:
    """Compare two runs row by row; rows are matched by what they ask, whatever their order.

    Args:
        clusters: what a row of A belongs to, one a row.

    Raises:
        EmptyDatasetError: there is no row.
        DataError: one run has rows that the other has not.
    """
    if not a.rows and not b.rows:
        raise EmptyDatasetError(f"The runs of task '{task}' have no row.")
    places = _matched(task, a.rows, b.rows)
    b_right = [bool(b.right[place]) for place in places]
    b_answers = [b.answers[place] for place in places]
    a_right = [bool(one) for one in a.right]
    flips, changed = [], 0
    for index, row in enumerate(a.rows):
        if a_right[index] == b_right[index]:
            changed += a.answers[index] != b_answers[index]
            continue
        flips.append(
            Flip(
                row=index + 1,
                gold=str(row["gold"]),
                a=a.answers[index],
                b=b_answers[index],
                to_right=b_right[index],
                fields=_own(row),
            )
        )
    n = len(a_right)
    return Difference(
        task=task,
        n=n,
        accuracy_a=sum(a_right) / n,
        accuracy_b=sum(b_right) / n,
        gain=(sum(b_right) - sum(a_right)) / n,
        interval=paired_difference(a_right, b_right, clusters, seed=seed),
        test=mcnemar(a_right, b_right),
        flips=tuple(flips),
        changed=changed,
    )


def write_flips(path: Path, differences: Sequence[Difference]) -> None:
    """Write all flips as parquet, one a line, whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    found = [row for one in differences for row in one.rows()]
    ours = {name: pyarrow.string() for name in ("task", "gold", "a", "b", "flip")}
    ours["row"] = pyarrow.int64()
    names = list(dict.fromkeys([*(name for row in found for name in row), *ours]))
    columns = {name: [row.get(name) for row in found] for name in names}
    table = pyarrow.table(
        {name: pyarrow.array(values, ours.get(name)) for name, values in columns.items()}
    )
    stream = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, stream)
    write_bytes(path, stream.getvalue().to_pybytes())


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in RESULT_COLUMNS | {"gold"}}


def _matched(
    task: str, a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Return for each row of A its place in B; the n-th of equal rows goes to the n-th."""
    places = {key: index for index, key in enumerate(_keys(b))}
    keys = _keys(a)
    missing = [index for index, key in enumerate(keys) if key not in places]
    extra = len(places) - (len(keys) - len(missing))
    if missing or extra:
        raise DataError(
            f"The runs of task '{task}' are not over the same rows: {len(missing)} of {len(keys)} "
            f"are only in the first, {extra} of {len(places)} only in the second.",
            fix="Evaluate both on the same split of the same data.",
        )
    return [places[key] for key in keys]


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    seen: Counter[tuple[Any, ...]] = Counter()
    keys = []
    for row in rows:
        # a file gives all its rows all columns: None is a field that the row does not have
        own = {n: v for n, v in _own(row).items() if n not in _NOT_THE_QUESTION and v is not None}
        key = (*sorted((name, str(value)) for name, value in own.items()), str(row["gold"]))
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys
