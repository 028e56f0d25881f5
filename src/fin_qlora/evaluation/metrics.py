"""Scores of predicted labels, and the baselines that they must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ..errors import DataError, EmptyDatasetError
from .metrics_certainty import Certainty, certainty

#: The class of answers that are none of the labels.
INVALID: Final = "invalid"


@dataclass(frozen=True, kw_only=True)
class OneLabel:
    """How well one label is found: shares of one, and in ``support`` the rows that have it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """Scores over ``n`` rows, all as shares of one where nothing else is said.

    Attributes:
        accuracy: right answers / rows.
        weighted_f1: F1 of each label, weighted by its share among the true labels.
        macro_f1: plain mean of the F1 of the labels.
        invalid: answers that are none of the labels; each counts as a miss of the true label.
        majority: accuracy of always answering the most frequent true label.
        random: accuracy to be expected of answering each label equally often.
        baselines: of those two answerers ``accuracy``, ``weighted_f1`` and ``macro_f1``.
        per_label: label -> how well it is found.
        confusion: true label -> predicted label -> rows; ``invalid`` is a column where it occurs.
        certainty: what the probabilities are worth; None where there are none.
    """

    n: int
    accuracy: float
    weighted_f1: float
    majority: float
    confusion: dict[str, dict[str, int]]
    macro_f1: float
    invalid: int
    random: float
    baselines: dict[str, dict[str, float]]
    per_label: dict[str, OneLabel]
    certainty: Certainty | None = None

    def figures(self) -> dict[str, Any]:
        """Return what the evidence tells of these scores besides rows and majority."""
        return {"accuracy": self.accuracy, "weighted_f1": self.weighted_f1}

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return asdict(self)


def label_scores(
    true: Sequence[str],
    predicted: Sequence[str | None],
    *,
    labels: Sequence[str],
    probabilities: Sequence[Mapping[str, float]] | None = None,
) -> LabelScores:
    """Compare predicted with true labels.

    Args:
        predicted: a label a row; whatever is none of ``labels``, and None, is ``invalid``.
        probabilities: label -> probability a row, for what the model is certain of.

    Raises:
        EmptyDatasetError: there is no row.
        DataError: a true label is none of ``labels``, one of these stands there twice or is
            called ``invalid``, or the lists differ in length.
    """
    if not true:
        raise EmptyDatasetError("There is no row to score.")
    if len(true) != len(predicted):
        raise DataError(f"There are {len(true)} true labels and {len(predicted)} predicted ones.")
    if INVALID in labels or len(set(labels)) < len(labels):
        raise DataError(
            f"The labels {', '.join(labels)} cannot be told apart from each other and from "
            f"'{INVALID}', as answers are called that are none of them.",
            fix="Give every label a name of its own.",
        )
    unknown = sorted(set(true) - set(labels))
    if unknown:
        raise DataError(
            f"The true label {unknown[0]!r} is none of {', '.join(labels)}.",
            fix="Score with the labels of the task that the rows belong to.",
        )
    known = set(labels)
    read = [one if one in known else INVALID for one in predicted]
    pairs = Counter(zip(true, read, strict=True))
    support, given = Counter(true), Counter(read)
    columns = [*labels, *([INVALID] if given[INVALID] else [])]
    per_label = {
        label: _one_label(pairs[label, label], given=given[label], support=support[label])
        for label in labels
    }
    n = len(true)
    commonest = max(labels, key=lambda label: support[label])
    return LabelScores(
        n=n,
        accuracy=sum(pairs[label, label] for label in labels) / n,
        weighted_f1=sum(one.f1 * one.support for one in per_label.values()) / n,
        macro_f1=sum(one.f1 for one in per_label.values()) / len(labels),
        invalid=given[INVALID],
        majority=support[commonest] / n,
        random=1 / len(labels),
        baselines={
            "majority": _baseline(support, {one: float(one == commonest) for one in labels}),
            "random": _baseline(support, dict.fromkeys(labels, 1 / len(labels))),
        },
        per_label=per_label,
        confusion={label: {column: pairs[label, column] for column in columns} for label in labels},
        certainty=certainty(true, probabilities) if probabilities is not None else None,
    )


def _one_label(hits: float, *, given: float, support: int) -> OneLabel:
    return OneLabel(
        precision=hits / given if given else 0.0,
        recall=hits / support if support else 0.0,
        f1=2 * hits / (given + support) if given + support else 0.0,
        support=support,
    )


def _baseline(support: Counter[str], answers: Mapping[str, float]) -> dict[str, float]:
    """Return the scores of an answerer that does not look at the row, at its expected counts.

    ``answers`` says for each label how often it is given.
    """
    n = support.total()
    each = {
        label: _one_label(share * support[label], given=share * n, support=support[label])
        for label, share in answers.items()
    }
    return {
        "accuracy": sum(share * support[label] for label, share in answers.items()) / n,
        "weighted_f1": sum(one.f1 * one.support for one in each.values()) / n,
        "macro_f1": sum(one.f1 for one in each.values()) / len(each),
    }
