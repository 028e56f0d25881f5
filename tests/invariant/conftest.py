"""Programs on one or two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pytest

from fin_qlora.files import shipped


@pytest.fixture
def launch(tmp_path):
    """Run a program, given as text, under an accelerate profile; return the folder it wrote to."""

    def run(program: str, *arguments: object, profile: str) -> Path:
        folder = Path(mkdtemp(dir=tmp_path, prefix=f"{profile}-"))
        source = folder / "program.py"
        source.write_text(program, "utf-8")
        command = [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--config_file", str(shipped("recipes") / "accelerate" / f"{profile}.yaml")),
            *(str(source), str(folder), *map(str, arguments)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return folder

    return run
