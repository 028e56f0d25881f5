"""From an adapter to labels: loading it with its evidence, and scoring every label."""

from ..offline import quiet_environment

quiet_environment()  # before anything below loads the libraries that read it

from .adapter import Adapter, Prediction, load_adapter

__all__ = ["Adapter", "Prediction", "load_adapter"]
