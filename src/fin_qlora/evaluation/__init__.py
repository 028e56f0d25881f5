"""How good a model is on rows that it was not trained on."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .metrics import LabelScores, label_scores
from .run import Evaluation, evaluate, evaluate_rows

__all__ = ["Evaluation", "LabelScores", "evaluate", "evaluate_rows", "label_scores"]
