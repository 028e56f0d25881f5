"""What is said of one input: a label and how probable it is, or none where that is too little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..calibration import Calibration
from ..probabilities import probabilities


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The label of one input, its probability among the labels, and that of every label.

    ``label`` is None where the likeliest label is less probable than was asked for; ``score`` and
    ``scores`` are there all the same.
    """

    label: str | None
    score: float
    scores: dict[str, float]

    @classmethod
    def of(
        cls,
        log_likelihoods: Mapping[str, float],
        *,
        calibration: Calibration | None = None,
        below: float | None = None,
    ) -> Prediction:
        """Return the prediction that log-likelihoods of labels make.

        Args:
            calibration: what turns them into probabilities; None is the softmax.
            below: the probability below which no label is given.
        """
        turn = calibration.probabilities if calibration else probabilities
        scores = turn(log_likelihoods)
        label = max(scores, key=scores.__getitem__)
        score = scores[label]
        abstains = below is not None and score < below
        return cls(label=None if abstains else label, score=score, scores=scores)
