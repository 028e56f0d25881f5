"""The tiny base model that ships with the package."""

from __future__ import annotations

from pathlib import Path

#: The name under which recipes ask for the embedded base.
TINY_ID = "fin-qlora/tiny-llama"


def tiny_base_path() -> Path:
    """Return the folder of the embedded tiny base model."""
    return Path(__file__).resolve().parent / "files"
