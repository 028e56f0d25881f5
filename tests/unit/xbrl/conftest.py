"""Small filings made by the tests, and the real ones where the person who runs them has any."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from synthetic_filings import Company, write_classic, write_inline, write_labels

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def filings(tmp_path) -> Path:
    """Six companies: three classic with labels, three inline."""
    root = tmp_path / "filings"
    for number in range(6):
        company = Company(number)
        folder = root / company.stem
        if number % 2:
            write_inline(folder, company)
        else:
            write_classic(folder, company)
        write_labels(folder, company)
    return root


@pytest.fixture(scope="session")
def real_filings() -> Path:
    """The folder that FIN_QLORA_FILINGS names, or the one beside the checkout."""
    named = os.environ.get("FIN_QLORA_FILINGS")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data" / "filings"
    if not folder.is_dir():
        pytest.skip("no real filings here; FIN_QLORA_FILINGS may name a folder of them")
    return folder
