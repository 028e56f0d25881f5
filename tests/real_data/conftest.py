"""The published sets: ``../shared/data`` beside the checkout, or where FIN_QLORA_DATA says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def published() -> Path:
    folder = Path(os.environ.get("FIN_QLORA_DATA", BESIDE))
    if not (folder / "tfns").is_dir():
        pytest.skip("the published sets are not here; FIN_QLORA_DATA may name their folder")
    return folder
