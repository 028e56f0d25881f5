"""Which rows belong together, and intervals of scores that heed it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ..data.splits import joined
from ..tasks import SplitRule, Task
from .intervals import FEW, Draws, Floats, Statistic, draw_clusters, wilson
from .metrics import INVALID

#: The least and the most that a share can be.
SHARE: Final = (0.0, 1.0)


def cluster_fields(task: Task | None) -> tuple[str, ...]:
    """Return the fields whose values join rows; None is a task that is not known here."""
    return (task.split if task else SplitRule()).group_by


def clusters_of(task: Task | None, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return for each row the number of its cluster.

    Rows that a split may not divide are one cluster: those that share a value of any field of
    the task's ``split.group_by``, such as the company and the filing of an XBRL question, or else
    the words of the text.
    """
    fields = cluster_fields(task)
    texts = [{name: str(row.get(name) or "") for name in fields} for row in rows]
    found = [0] * len(rows)
    for number, members in enumerate(joined(texts, fields)):
        for index in members:
            found[index] = number
    return found


def cluster_name(task: Task | None) -> str:
    """Say what the rows of one cluster share, such as ``company or filing``."""
    return " or ".join(cluster_fields(task)) or "row"


def accuracy_intervals(
    task: Task | None,
    rows: Sequence[Mapping[str, Any]],
    right: Sequence[bool],
    *,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return both intervals of an accuracy, as plain JSON values.

    ``wilson`` takes rows for independent; ``cluster_bootstrap`` draws whole clusters. Where no
    draw differs from another, as when all rows are right, it is made from Wilson's over clusters.
    ``n_effective`` is the number of clusters, and ``few_clusters`` warns that there are fewer
    than 20 of them.
    """
    hits = np.asarray(right, dtype=np.float64)
    draws = draw_clusters(hits, clusters_of(task, rows), seed=seed)
    return _of_accuracy(task, draws, None, hits=int(hits.sum()), n=len(hits), confidence=confidence)


def label_intervals(
    task: Task | None,
    rows: Sequence[Mapping[str, Any]],
    true: Sequence[str],
    predicted: Sequence[str | None],
    *,
    labels: Sequence[str],
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return ``accuracy_intervals`` with those of weighted and macro F1 beside them.

    A draw's F1 is that of its own confusion matrix.
    """
    size = len(labels)
    place = {label: number for number, label in enumerate([*labels, INVALID])}
    cells = np.zeros((len(true), size * (size + 1)))
    for index, (one, other) in enumerate(zip(true, predicted, strict=True)):
        cells[index, place[one] * (size + 1) + place.get(other or INVALID, size)] = 1
    draws = draw_clusters(cells, clusters_of(task, rows), seed=seed)

    def matrices(sums: Floats) -> Floats:
        return sums.reshape(-1, size, size + 1)

    def accuracy(sums: Floats, drawn: Floats) -> Floats:
        return np.einsum("sii->s", matrices(sums)[:, :, :size]) / drawn

    found = _of_accuracy(
        task,
        draws,
        accuracy,
        hits=sum(one == other for one, other in zip(true, predicted, strict=True)),
        n=len(true),
        confidence=confidence,
    )
    for name, weighted in (("weighted_f1", True), ("macro_f1", False)):
        figures = _f1(matrices(draws.sums), weighted=weighted)
        interval = draws.interval(
            lambda *_, known=figures: known, bounds=SHARE, confidence=confidence
        )
        found[name] = {"cluster_bootstrap": interval.to_dict()}
    return found


def _of_accuracy(
    task: Task | None,
    draws: Draws,
    accuracy: Statistic | None,
    *,
    hits: int,
    n: int,
    confidence: float,
) -> dict[str, Any]:
    clustered = draws.interval(accuracy, bounds=SHARE, confidence=confidence)
    number = draws.clusters
    return {
        "accuracy": {
            "wilson": wilson(hits, n, confidence=confidence).to_dict(),
            "cluster_bootstrap": clustered.to_dict(),
        },
        "cluster": cluster_name(task),
        "n_effective": number,
        "few_clusters": number < FEW,
    }


def _f1(matrices: Floats, *, weighted: bool) -> Floats:
    """Return the F1 of each matrix: lines are true labels, the last column is ``invalid``."""
    size = matrices.shape[1]
    hits = np.einsum("sii->si", matrices[:, :, :size])
    support = matrices.sum(axis=2)
    given = matrices[:, :, :size].sum(axis=1)
    both = support + given
    each = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
    if weighted:
        mean: Floats = (each * support).sum(axis=1) / support.sum(axis=1)
        return mean
    macro: Floats = each.mean(axis=1)
    return macro
