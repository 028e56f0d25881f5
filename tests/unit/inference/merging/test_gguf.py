"""llama.cpp's converter is found, told what to write, and believed only if it wrote that."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fin_qlora.errors import (
    EnvironmentFault,
    MissingDependencyError,
    MissingFileError,
    UnknownNameError,
)
from fin_qlora.inference.merging.gguf import VARIABLE, find_converter, write_gguf

#: Stands in for llama.cpp's script: takes its arguments in its way, writes GGUF's first bytes.
STAND_IN = """\
import argparse, json, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--outfile", type=pathlib.Path, required=True)
parser.add_argument("--outtype", choices=["f32", "f16", "bf16", "q8_0", "auto"], default="auto")
given = parser.parse_args()
if not (given.model / "config.json").is_file():
    sys.exit("Error: it is no model")
magic = b"GGUF" if (given.model / "good").exists() else b"JUNK"
given.outfile.write_bytes(magic + json.dumps([given.outtype, sys.argv[1]]).encode())
"""


@pytest.fixture
def converter(tmp_path) -> Path:
    path = tmp_path / "llama.cpp" / "convert_hf_to_gguf.py"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{STAND_IN}")
    return path


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "good").touch()
    return folder


@pytest.mark.parametrize("executable", [True, False])
def test_it_is_told_what_to_write(converter, model, tmp_path, executable):
    converter.chmod(0o755 if executable else 0o644)
    file = tmp_path / "out" / "model.gguf"
    write_gguf(model, file, converter=converter, kind="q8_0")
    assert json.loads(file.read_bytes()[4:]) == ["q8_0", str(model)]
    assert [path.name for path in file.parent.iterdir()] == ["model.gguf"]


def test_one_that_fails_leaves_the_older_file(converter, model, tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"older")
    (model / "config.json").unlink()
    with pytest.raises(EnvironmentFault, match="code 1; it said last: Error: it is no model"):
        write_gguf(model, file, converter=converter)
    (model / "config.json").write_text("{}")
    (model / "good").unlink()
    with pytest.raises(EnvironmentFault, match="left no GGUF file"):
        write_gguf(model, file, converter=converter)
    assert file.read_bytes() == b"older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["llama.cpp", "model", "model.gguf"]
    with pytest.raises(UnknownNameError, match="q4_k"):
        write_gguf(model, file, converter=converter, kind="q4_k")


def test_where_it_is_looked_for(converter, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=f"not on the PATH.*{VARIABLE}"):
        find_converter()
    converter.chmod(0o755)
    monkeypatch.setenv("PATH", str(converter.parent))
    assert find_converter() == converter
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, str(converter.parent))
    assert find_converter() == converter
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    assert find_converter(converter) == converter
    with pytest.raises(MissingFileError, match="gone"):
        find_converter()
