"""Made-up files in the forms in which the published sets come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    """Write a file below the data folder: text as UTF-8, records as JSON lines, bytes as are."""

    def write(path: str, content) -> Path:
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            place.write_bytes(content)
        elif isinstance(content, str):
            place.write_bytes(content.encode("utf-8"))
        elif path.endswith(".jsonl"):
            place.write_text("".join(json.dumps(each) + "\n" for each in content), "utf-8")
        else:
            place.write_text(json.dumps(content), "utf-8")
        return tmp_path

    return write
