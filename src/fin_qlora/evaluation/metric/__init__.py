"""The scores as metrics of the `evaluate` library, for those who evaluate with it."""

from ...offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .answers import AnswerMetric
from .labels import LabelMetric

__all__ = ["AnswerMetric", "LabelMetric"]
