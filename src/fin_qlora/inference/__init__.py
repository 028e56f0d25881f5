"""From an adapter to labels: loading it with its evidence, and scoring every label."""

from .adapter import Adapter, Prediction, load_adapter

__all__ = ["Adapter", "Prediction", "load_adapter"]
