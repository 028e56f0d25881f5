"""One real demonstration for all end-to-end tests, and a hub of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fin_qlora.cli.demo_hub import demo_hub


@dataclass(frozen=True)
class Demo:
    directory: Path
    summary: dict[str, Any]
    process: subprocess.CompletedProcess[str]
    seconds: float

    def adapter(self, task: str) -> Path:
        return self.directory / task / "adapter"


def fin_qlora_command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    command = [sys.executable, "-m", "fin_qlora.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="session")
def fin_qlora():
    return fin_qlora_command


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Demo:
    """The demonstration, run for real; it takes a few minutes."""
    directory = tmp_path_factory.mktemp("demo") / ".demo"
    # as a user runs it: on all cores, whatever the other tests have set
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    begun = time.monotonic()
    process = fin_qlora_command(
        "demo", "--directory", directory, "--format", "json", env=environment
    )
    path = directory / "summary.json"
    assert path.exists(), process.stderr[-4000:]
    return Demo(directory, json.loads(path.read_text()), process, time.monotonic() - begun)


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    with demo_hub(tmp_path_factory.mktemp("hub"), user="demo") as running:
        yield running
