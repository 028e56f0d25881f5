"""From an adapter to answers: loading it with its evidence, scoring labels, writing free text."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .adapter import Adapter
from .generation import Generated
from .loading import load_adapter
from .prediction import Prediction

__all__ = ["Adapter", "Generated", "Prediction", "load_adapter"]
