"""How good a model is on rows that it was not trained on."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .answers import AnswerScores
from .metrics import LabelScores, label_scores
from .rows import Evaluation, evaluate_rows
from .run import evaluate

__all__ = [
    "AnswerScores",
    "Evaluation",
    "LabelScores",
    "evaluate",
    "evaluate_rows",
    "label_scores",
]
