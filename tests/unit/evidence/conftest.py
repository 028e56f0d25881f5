"""A finished adapter folder for each test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from adapter_folder import base_identity, write_adapter, write_base


@pytest.fixture
def adapter(tmp_path) -> Path:
    base = write_base(tmp_path / "base")
    return write_adapter(tmp_path / "adapter", base=base_identity(base))


@pytest.fixture
def several(tmp_path) -> Path:
    """An adapter for a task with labels and one with free answers."""
    base = write_base(tmp_path / "base")
    return write_adapter(
        tmp_path / "several", base=base_identity(base), task="fpb", further=("xbrl_tag",)
    )
