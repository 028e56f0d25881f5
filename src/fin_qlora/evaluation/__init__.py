"""How good a model is on rows that it was not trained on."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

# public name -> the module that holds it; loaded when first used, so that statistics over
# saved rows bring no torch
_PUBLIC = {
    "AnswerScores": "answers",
    "Evaluation": "evaluation",
    "EvaluationSettings": "settings",
    "LabelScores": "metrics",
    "TaskResults": "results",
    "cluster_bootstrap": "intervals",
    "evaluate": "run",
    "evaluate_rows": "rows",
    "label_scores": "metrics",
    "mcnemar": "statistics",
    "read_results": "results",
    "wilson": "intervals",
}

__all__ = [
    "AnswerScores",
    "Evaluation",
    "EvaluationSettings",
    "LabelScores",
    "TaskResults",
    "cluster_bootstrap",
    "evaluate",
    "evaluate_rows",
    "label_scores",
    "mcnemar",
    "read_results",
    "wilson",
]

if TYPE_CHECKING:
    from .answers import AnswerScores
    from .evaluation import Evaluation
    from .intervals import cluster_bootstrap, wilson
    from .metrics import LabelScores, label_scores
    from .results import TaskResults, read_results
    from .rows import evaluate_rows
    from .run import evaluate
    from .settings import EvaluationSettings
    from .statistics import mcnemar


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fin_qlora.evaluation' has no attribute '{name}'")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value
