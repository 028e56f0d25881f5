"""Rules by which saved outputs are judged: our strict one, the paper's, and FinLoRA's."""

from .finlora import finlora
from .judged import Judged, Saved, saved_answers
from .paper import DEVIATIONS, Deviation, paper
from .strict import strict

__all__ = [
    "DEVIATIONS",
    "Deviation",
    "Judged",
    "Saved",
    "finlora",
    "paper",
    "saved_answers",
    "strict",
]
