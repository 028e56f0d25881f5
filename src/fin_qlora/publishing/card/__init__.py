"""The model card: every word of it from the manifest and the prompt contracts, nothing typed in."""

from .page import card

__all__ = ["card"]
