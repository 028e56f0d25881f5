"""`fin-qlora data`: what it prints, and the exit codes of findings and of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "desk_notes.yaml"


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw" / "tfns"
    folder.mkdir(parents=True)
    lines = "".join(f"row {i},{i % 3}\n" for i in range(12))
    (folder / "sent_train.csv").write_text(f"text,label\n{lines}shared,1\n")
    (folder / "sent_valid.csv").write_text("text,label\nShared,1\nelse,0\n")
    return tmp_path / "raw"


def test_verify_tells_a_part_and_exits_well(fin_qlora, raw):
    said = fin_qlora("data", "verify", "--data_dir", raw)
    assert said.code == 0
    assert "tfns/sent_train.csv  13       9,543      partial" in said.out
    assert "2 positive" not in said.out.splitlines()[0]
    checks = json.loads(fin_qlora("data", "verify", "--data-dir", raw, "--format=json").out)
    assert [check["files"][0]["records"] for check in checks["checks"]] == [13, 2]


def test_verify_exits_with_one_when_a_file_cannot_be_read(fin_qlora, raw):
    (raw / "tfns" / "sent_valid.csv").write_text("text,label\nx,9\n")
    (raw / "notes.csv").write_text("a,b\n")
    said = fin_qlora("data", "verify", "--data_dir", raw)
    assert said.code == 1
    assert "row 1 has the label '9'" in said.err
    assert "Read by no task: notes.csv" in said.out


def test_audit_exits_with_one_on_leakage(fin_qlora, raw):
    said = fin_qlora("data", "audit", "tfns", "--data_dir", raw, "--format", "json")
    assert said.code == 1
    (found,) = json.loads(said.out)["audits"]
    assert found["overlaps"][0]["normalised"] == 1
    assert "also trained on: tfns" in said.err
    assert "LEAK" in fin_qlora("data", "audit", "--data_dir", raw).out


def test_what_was_prepared_is_clean(fin_qlora, raw, tmp_path):
    out = tmp_path / "out"
    said = fin_qlora("data", "prepare", "tfns", "--data_dir", raw, "--out", out)
    assert said.code == 0
    assert "1 also in test" in said.out
    table = pyarrow.parquet.read_table(out / "train.parquet")
    assert {"text", "label"} <= set(table.column_names)
    assert set(table["label"].to_pylist()) == {"negative", "neutral", "positive"}
    assert fin_qlora("data", "audit", "--data_dir", out).code == 0
    again = fin_qlora("data", "prepare", "tfns", "--data_dir", raw, "--out", out)
    assert "Up to date" in again.out


def test_several_tasks_and_one_of_the_user_s_own(fin_qlora, raw, tmp_path):
    lines = "".join(f"note {i},{i % 2},SYM,client {i}\n" for i in range(40))
    (raw / "notes.csv").write_text("note,verdict,symbol,account\n" + lines)
    said = fin_qlora(
        "data", "prepare", EXAMPLE, "tfns", "--data_dir", raw, "--out", tmp_path / "out",
        "--seed", "3", "--format", "quiet",
    )  # fmt: skip
    assert said.code == 0
    assert [Path(line).name for line in said.out.split()] == ["desk_notes", "tfns"]
    manifest = json.loads((tmp_path / "out" / "desk_notes" / "manifest.json").read_text())
    assert manifest["rule"]["seed"] == 3
    assert list(manifest["splits"]) == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["audit", "--data-dir", "nowhere"], 3, "does not exist"),
        (["audit", "tfsn", "--data-dir", "."], 2, "Did you mean 'tfns'"),
        (["audit", "mine.yaml", "--data-dir", "."], 3, "no task file"),
        (["verify", "--data-dir", "."], 3, "holds no file of these tasks"),
        (["prepare", "tfns", "--out", "x"], 2, "one of --data-dir and --from-hub"),
        (
            ["prepare", "fpb", "--data-dir", ".", "--out", "x", "--set", "min_agreement"],
            2,
            "NAME=VALUE",
        ),
        (
            ["prepare", "fpb", "--data-dir", ".", "--out", "x", "--set", "min_agrement=75"],
            2,
            "Did you mean 'min_agreement'",
        ),
        (["prepare", "fpb", "--data-dir", ".", "--out", "x", "--preset", "ppaer"], 2, "paper"),
        (["prepare", "tfns", "--data-dir", ".", "--out", "x", "--revision", "y"], 2, "--from-hub"),
        (["xbrl", "--filings", "nowhere", "--out", "x"], 3, "nowhere"),
    ],
)
def test_bad_input_is_one_sentence(fin_qlora, tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    said = fin_qlora("data", *arguments)
    assert (said.code, said.out) == (code, "")
    assert says in said.err
    assert not list(tmp_path.iterdir())
