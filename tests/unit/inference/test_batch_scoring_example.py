"""The program of docs/batch-scoring.md: on Ray it finds what one process finds."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

from fin_qlora import load_adapter

DOCS = Path(__file__).resolve().parents[3] / "docs"
PROGRAM = DOCS / "examples" / "batch_scoring.py"
WORDS = [("up", "1"), ("down", "0"), ("flat", "2"), ("higher", "1"), ("lower", "0"), ("same", "2")]

#: Other rows stand beside a row in a batch, which moves a bfloat16 model's last digits.
ROUNDING = 0.02


def test_the_page_shows_the_whole_program():
    program = PROGRAM.read_text("utf-8")
    ast.parse(program)
    assert f"```python\n{program}```" in (DOCS / "batch-scoring.md").read_text("utf-8")


@pytest.fixture
def adapter(run_on, tmp_path):
    data = tmp_path / "tfns"
    data.mkdir()
    train = "".join(f"{text} {i},{label}\n" for i in range(4) for text, label in WORDS)
    (data / "sent_train.csv").write_text(f"text,label\n{train}", encoding="utf-8")
    test = "".join(f"unseen {text},{label}\n" for text, label in WORDS)
    (data / "sent_valid.csv").write_text(f"text,label\n{test}", encoding="utf-8")
    run_on("tfns", data_dir=tmp_path)
    return tmp_path / "adapter"


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"
)
def test_two_workers_find_what_one_process_finds(adapter, tmp_path):
    rows = [{"number": n, "text": f"{WORDS[n % 6][0]} {'more ' * (n % 9)}"} for n in range(90)]
    given, out = tmp_path / "rows", tmp_path / "labelled"
    given.mkdir()
    for part in range(3):
        lines = (json.dumps(row) + "\n" for row in rows[part::3])
        (given / f"part-{part}.jsonl").write_text("".join(lines), encoding="utf-8")

    def label():
        return subprocess.run(
            [sys.executable, str(PROGRAM), str(adapter), str(given), str(out), "--batch", "16"],
            env=os.environ | {"RAY_TMPDIR": "/tmp"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = label()
    assert done.returncode == 0, done.stderr[-4000:]
    again = label()  # into the same folder
    assert again.returncode != 0
    assert f"{out} already exists" in again.stderr
    found = sorted(pyarrow.parquet.read_table(out).to_pylist(), key=lambda row: row["number"])
    assert [{"number": row["number"], "text": row["text"]} for row in found] == rows
    for row, one in zip(found, load_adapter(adapter).predict(rows), strict=True):
        assert row["score"] == pytest.approx(one.score, abs=ROUNDING)
        assert one.scores[row["predicted"]] == pytest.approx(one.score, abs=ROUNDING)
