"""From an adapter to answers: loading it with its evidence, scoring labels, writing free text."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .adapter import Adapter, Prediction, load_adapter
from .generation import Generated

__all__ = ["Adapter", "Generated", "Prediction", "load_adapter"]
