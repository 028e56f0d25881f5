"""Running the command line in this process and looking at all that it said."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fin_qlora.cli.main import run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "evidence"))
from adapter_folder import base_identity, write_adapter, write_base


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def fin_qlora(capsys, monkeypatch):
    # run() sets these for the process; the tests after this one must not notice
    for name in (
        "DO_NOT_TRACK",
        "FIN_QLORA_DEBUG",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "HF_HUB_DISABLE_UPDATE_CHECK",
        "HF_HUB_OFFLINE",
    ):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return call


@pytest.fixture
def adapter(tmp_path) -> Path:
    base = write_base(tmp_path / "base")
    return write_adapter(tmp_path / "adapter", base=base_identity(base))
