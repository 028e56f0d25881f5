"""From an adapter to answers: loading it with its evidence, scoring labels, writing free text."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .adapters.adapter import Adapter
from .adapters.loading import load_adapter
from .adapters.prediction import Prediction
from .generation import Generated

__all__ = ["Adapter", "Generated", "Prediction", "load_adapter"]
