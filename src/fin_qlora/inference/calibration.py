"""Probabilities that are as often right as they say: fitted by likelihood on rows set apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from ..errors import DataError, EmptyDatasetError, UnknownLabelError
from .probabilities import probabilities

#: Fewer rows say too little to fit anything.
ROWS = 20
#: Parts into which rows are cut to see whether a bias helps on rows that it was not fitted on.
_PARTS = 5
#: Steps of Newton's method; the problem is convex and takes fewer than ten.
_STEPS = 50

Bias = Literal["auto", "always", "never"]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How a task's log-likelihoods become probabilities.

    Attributes:
        temperature: they are divided by it; above 1 a model was surer than it was right.
        bias: label -> nats that are added afterwards; empty where that did not help.
        rows: rows that it was fitted on.
        before, after: mean negative log-probability of the right label on them, in nats.
    """

    temperature: float
    bias: Mapping[str, float] = field(default_factory=dict)
    rows: int
    before: float
    after: float

    def probabilities(self, log_likelihoods: Mapping[str, float]) -> dict[str, float]:
        """Return the probability of each label among the labels."""
        return probabilities(
            {
                label: value / self.temperature + self.bias.get(label, 0.0)
                for label, value in log_likelihoods.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values; ``from_dict`` reads them back."""
        values: dict[str, Any] = {
            "temperature": self.temperature,
            "rows": self.rows,
            "before": self.before,
            "after": self.after,
        }
        return values | ({"bias": dict(self.bias)} if self.bias else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build what ``to_dict`` wrote. Raises DataError on unknown or impossible content."""
        needed = {"temperature", "rows", "before", "after"}
        if not needed <= set(values) <= needed | {"bias"}:
            raise DataError(
                f"A calibration has the fields {sorted(values)}.",
                fix="It was written by another version of fin-qlora.",
            )
        found = cls(**values)
        numbers = [found.temperature, *found.bias.values()]
        if not all(map(math.isfinite, numbers)) or found.temperature <= 0:
            raise DataError(
                f"A calibration has the temperature {found.temperature}.", fix="Fit it again."
            )
        return found


def fit(
    log_likelihoods: Sequence[Mapping[str, float]], gold: Sequence[str], *, bias: Bias = "auto"
) -> Calibration:
    """Fit a temperature, and a bias for each label where that helps, by likelihood.

    The rows must be none that are evaluated or were trained on. Temperature scaling is that of
    Guo et al. 2017 (arXiv 1706.04599, section 4.2). A prior worth about one row holds the
    temperature near 1 and biases near 0, so that rows which are all right do not make it certain.

    Args:
        log_likelihoods: of each row, label -> natural logarithm, the same labels in all.
        gold: the right label of each row.
        bias: ``auto`` takes biases where rows that were left out of the fit say that they help,
            by more than one standard error.

    Raises:
        EmptyDatasetError: there are fewer than ``ROWS`` rows.
        UnknownLabelError: a right label is none of the labels.
        DataError: a row has other labels, or numbers that are not finite.
    """
    scores, right, labels = _arrays(log_likelihoods, gold)
    biased = bias == "always" or (bias == "auto" and _helps(scores, right))
    inverse, added = _fitted(scores, right, biased=biased)
    return Calibration(
        temperature=float(1 / inverse),
        bias=dict(zip(labels, added.tolist(), strict=True)) if biased else {},
        rows=len(right),
        before=float(_losses(scores, right).mean()),
        after=float(_losses(inverse * scores + added, right).mean()),
    )


def _arrays(
    log_likelihoods: Sequence[Mapping[str, float]], gold: Sequence[str]
) -> tuple[Any, Any, list[str]]:
    if len(gold) < ROWS:
        raise EmptyDatasetError(
            f"There are {len(gold)} rows to calibrate on; {ROWS} are needed.",
            fix="Use more rows that are neither trained on nor evaluated.",
        )
    labels = list(log_likelihoods[0])
    if any(set(row) != set(labels) for row in log_likelihoods):
        raise DataError("Rows to calibrate on have different labels.", fix="Calibrate each task.")
    unknown = sorted(set(gold) - set(labels))
    if unknown:
        raise UnknownLabelError(
            f"The right label {unknown[0]!r} is none of the labels.",
            fix=f"The labels are {', '.join(labels)}.",
        )
    scores = np.array([[row[label] for label in labels] for row in log_likelihoods])
    if not np.isfinite(scores).all():
        raise DataError("A log-likelihood to calibrate on is not finite.", fix="Score it again.")
    # what all labels of a row have in common says nothing
    scores -= scores.max(1, keepdims=True)
    return scores, np.array([labels.index(label) for label in gold]), labels


def _losses(scores: Any, right: Any) -> Any:
    most = scores.max(1)
    total = most + np.log(np.exp(scores - most[:, None]).sum(1))
    return total - scores[np.arange(len(right)), right]


def _fitted(scores: Any, right: Any, *, biased: bool) -> tuple[float, Any]:
    """Return the inverse temperature and the biases that make the right labels likeliest."""
    rows, labels = scores.shape
    start = np.zeros(1 + labels)
    start[0] = 1.0
    free = 1 + labels if biased else 1

    def objective(values: Any) -> float:
        losses = _losses(values[0] * scores + values[1:], right)
        return float(losses.sum() + 0.5 * ((values - start) ** 2).sum())

    # each score is linear in (inverse temperature, biases), so that the problem is convex
    features = np.concatenate(
        [scores[:, :, None], np.broadcast_to(np.eye(labels), (rows, labels, labels))], axis=2
    )[:, :, :free]
    values = start.copy()
    for _ in range(_STEPS):
        logits = values[0] * scores + values[1:]
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        expected = np.einsum("rl,rlf->rf", weights, features)
        gradient = (expected - features[np.arange(rows), right]).sum(0) + (values - start)[:free]
        curvature = np.einsum("rl,rlf,rlg->fg", weights, features, features)
        curvature += np.eye(free) - expected.T @ expected
        step = np.linalg.solve(curvature, gradient)
        now, length = objective(values), 1.0
        while True:
            tried = values.copy()
            tried[:free] -= length * step
            if (tried[0] > 0 and objective(tried) <= now) or length < 1e-9:
                break
            length /= 2
        values = tried
        if float(np.abs(length * step).max()) < 1e-10:
            break
    return float(values[0]), values[1:]


def _helps(scores: Any, right: Any) -> bool:
    """Say whether biases make rows that they were not fitted on likelier, beyond chance."""
    parts = np.arange(len(right)) % _PARTS
    gains = np.zeros(len(right))
    for part in range(_PARTS):
        out = parts == part
        losses = []
        for biased in (False, True):
            inverse, added = _fitted(scores[~out], right[~out], biased=biased)
            losses.append(_losses(inverse * scores[out] + added, right[out]))
        gains[out] = losses[0] - losses[1]
    return float(gains.mean()) > float(gains.std(ddof=1)) / math.sqrt(len(gains))
