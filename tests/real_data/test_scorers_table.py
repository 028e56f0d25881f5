"""The table in docs/metrics.md is what benchmarks/scorers.py prints over the published files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_the_programs(published):
    result = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "scorers.py"), "--data_dir", str(published)],
        capture_output=True,
        text=True,
        check=True,
    )
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    told = page.split("<!-- printed by benchmarks/scorers.py -->", 1)[1].split("<!-- end -->")[0]
    assert told.strip() == result.stdout[result.stdout.index("Accuracy of labels") :].strip()
