"""`fin-qlora merge` says how far the merged model is off, and what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fin_qlora.errors import MergeDriftError
from fin_qlora.inference.merging import gguf as merging_gguf
from fin_qlora.inference.merging import merge as merging
from fin_qlora.inference.merging.drift import Drift
from fin_qlora.inference.merging.merge import Merged

EVIDENCE = {"schema": 1, "trained_in": "4bit", "digest": "ab" * 32}


@pytest.fixture
def asked(monkeypatch):
    """Stand in for the merge: what it was asked, and an answer."""
    given = []

    def merge(reference, out, **options):
        given.append((reference, out, options))
        if reference == "bad":
            raise MergeDriftError("It does not answer as 'bad' does.")
        return Merged(
            folder=out,
            drift=Drift(logits=0.0123, probability=0.0281, turned=0, canaries=8),
            quantised=Drift(logits=0.1213, probability=None, turned=2, canaries=8),
            evidence=EVIDENCE,
        )

    monkeypatch.setattr(merging, "merge_adapter", merge)
    return given


def test_both_drifts_are_told(fin_qlora, asked, tmp_path):
    said = fin_qlora("merge", "a/b", "--out", tmp_path / "m")
    header, _, first, second, _, wrote = said.out.splitlines()
    assert header.split("  ")[0] == "COMPARED WITH"
    assert first.split()[-5:] == ["1.23%", "0.0281", "0", "of", "8"]
    assert "on the base in 4bit" in second
    assert second.split()[-5:] == ["12.13%", "-", "2", "of", "8"]
    assert wrote == f"Wrote {tmp_path / 'm'}"
    (given,) = asked
    assert given == (
        "a/b",
        tmp_path / "m",
        {
            "revision": None,
            "base": None,
            "dtype": "bfloat16",
            "tolerance": merging.TOLERANCE,
            "replace": False,
        },
    )


def test_what_is_asked_for_is_passed_on(fin_qlora, asked, tmp_path):
    said = fin_qlora(
        *("merge", "a/b", "--out", tmp_path / "m", "--base", "c/d", "--revision", "v1"),
        *("--dtype", "float32", "--tolerance", "0.01", "--force", "--format", "json"),
    )
    assert json.loads(said.out) == {"folder": str(tmp_path / "m"), **EVIDENCE}
    assert asked[0][2] == {
        "revision": "v1",
        "base": "c/d",
        "dtype": "float32",
        "tolerance": 0.01,
        "replace": True,
    }
    said = fin_qlora("merge", "a/b", "--out", tmp_path / "m", "--format", "quiet")
    assert said.out == f"{tmp_path / 'm'}\n"


def test_a_drift_is_a_finding(fin_qlora, asked, tmp_path):
    said = fin_qlora("merge", "bad", "--out", tmp_path / "m")
    assert (said.code, said.out) == (1, "")
    assert "does not answer" in said.err


def test_the_converter_is_looked_for_first(fin_qlora, asked, tmp_path, monkeypatch):
    monkeypatch.delenv(merging_gguf.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = fin_qlora("merge", "a/b", "--out", tmp_path / "m", "--gguf", tmp_path / "m.gguf")
    assert (said.code, "not on the PATH" in said.err) == (4, True)
    said = fin_qlora("merge", "a/b", "--out", tmp_path / "m", "--converter", tmp_path)
    assert (said.code, "--converter is for --gguf" in said.err) == (2, True)
    said = fin_qlora("merge", "a/b", "--out", tmp_path / "m", "--gguf-type", "f16")
    assert (said.code, "--gguf-type is for --gguf" in said.err) == (2, True)
    said = fin_qlora("merge", "a/b", "--out", tmp_path / "m", "--gguf", tmp_path)
    assert (said.code, "is a folder" in said.err) == (2, True)
    assert asked == []


def test_the_merged_model_is_converted(fin_qlora, asked, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        merging_gguf,
        "write_gguf",
        lambda model, file, **options: written.append((model, file, options)),
    )
    converter = Path(tmp_path / "convert_hf_to_gguf.py")
    converter.touch()
    said = fin_qlora(
        *("merge", "a/b", "--out", tmp_path / "m", "--gguf", tmp_path / "m.gguf"),
        *("--converter", converter, "--gguf-type", "q8_0"),
    )
    assert said.out.splitlines()[-1] == f"Wrote {tmp_path / 'm.gguf'}"
    assert written == [
        (tmp_path / "m", tmp_path / "m.gguf", {"converter": converter, "kind": "q8_0"})
    ]
