"""From log-likelihoods of labels to their probabilities among one another."""

from __future__ import annotations

import math
from collections.abc import Mapping


def probabilities(log_likelihoods: Mapping[str, float]) -> dict[str, float]:
    """Return the probability of each label among the labels."""
    most = max(log_likelihoods.values())
    weights = {label: math.exp(value - most) for label, value in log_likelihoods.items()}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}
