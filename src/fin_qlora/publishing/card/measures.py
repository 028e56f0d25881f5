"""Metrics by the names that a card and a hub have for them."""

from __future__ import annotations

#: Metrics by their names in the evidence, and the F1 scores by how they are averaged.
METRICS = {
    "accuracy": "Accuracy",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "weighted_f1": "Weighted F1",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
}
AVERAGED = {name: name.removesuffix("_f1") for name in ("weighted_f1", "macro_f1", "micro_f1")}
