"""A private registry for models and adapters that stock Hugging Face clients can use unmodified."""

__version__ = "0.1.0"
