"""Splits on disk: words for labels, the same bytes again, whole or not at all."""

from __future__ import annotations

import json

import pyarrow.parquet
import pytest

from fin_qlora import tasks
from fin_qlora.data import forms
from fin_qlora.data import prepare as module
from fin_qlora.data.prepare import prepare
from fin_qlora.data.table import read_split, without_rows_of
from fin_qlora.errors import DataError, MissingFileError, UsageError
from fin_qlora.tasks import SplitRule

TFNS = tasks.get("tfns")


@pytest.fixture
def raw(write, tmp_path):
    lines = "".join(f"row {i},{i % 3}\r\n" for i in range(30))
    repeated = "row 0 https://a.b,0\r\n ,1\r\nTorn,0\r\ntorn,1\r\nin test,1\r\n"
    write("raw/tfns/sent_train.csv", f"text,label\r\n{lines}{repeated}")
    write("raw/tfns/sent_valid.csv", "text,label\r\nIn TEST,2\r\nalone,0\r\nalone,0\r\n")
    return tmp_path / "raw"


def test_rows_labels_and_manifest(raw, tmp_path):
    found = prepare(TFNS, data_dir=raw, out=tmp_path / "out")
    assert found.fresh
    assert {p.name for p in found.folder.iterdir()} == {
        "train.parquet",
        "test.parquet",
        "manifest.json",
    }
    rows = pyarrow.parquet.read_table(found.folder / "train.parquet").to_pylist()
    assert rows[:3] == [
        {"text": "row 0", "label": "negative"},
        {"text": "row 1", "label": "positive"},
        {"text": "row 2", "label": "neutral"},
    ]
    manifest = json.loads((found.folder / "manifest.json").read_text("utf-8"))
    assert manifest == found.manifest
    train = manifest["splits"]["train"]
    assert train["rows"] == len(rows) == 30
    assert train["dropped"] == {
        "also in test": 1,
        "empty text": 1,
        "the same question again": 1,
        "the same question with different answers": 2,
    }
    assert train["partial"]
    assert train["sources"][0]["rows"] == 35
    # what is scored stays as it was published
    assert manifest["splits"]["test"]["rows"] == 3
    assert manifest["splits"]["test"]["labels"] == {"negative": 2, "neutral": 1, "positive": 0}


def test_the_same_again_is_left_alone_and_gives_the_same_bytes(raw, tmp_path):
    first = prepare(TFNS, data_dir=raw, out=tmp_path / "out")
    stamp = (first.folder / "train.parquet").stat().st_mtime_ns
    again = prepare(TFNS, data_dir=raw, out=tmp_path / "out")
    assert not again.fresh
    assert again.manifest == first.manifest
    assert (first.folder / "train.parquet").stat().st_mtime_ns == stamp
    other = prepare(TFNS, data_dir=raw, out=tmp_path / "other")
    for name in ("train.parquet", "test.parquet", "manifest.json"):
        assert (other.folder / name).read_bytes() == (first.folder / name).read_bytes()


def test_a_changed_file_or_rule_is_prepared_anew(raw, tmp_path):
    out = tmp_path / "out"
    prepare(TFNS, data_dir=raw, out=out)
    (out / "train.parquet").write_bytes(b"torn")
    assert prepare(TFNS, data_dir=raw, out=out).fresh
    assert prepare(TFNS, data_dir=raw, out=out, rule=SplitRule(validation=0.2)).fresh
    assert (out / "validation.parquet").is_file()


def test_an_interrupted_write_leaves_the_old_folder(raw, tmp_path, monkeypatch):
    out = tmp_path / "out"
    digest = prepare(TFNS, data_dir=raw, out=out).manifest["digest"]

    def broken(path, value):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_json", broken)
    with pytest.raises(KeyboardInterrupt):
        prepare(TFNS, data_dir=raw, out=out, rule=SplitRule(seed=3))
    with pytest.raises(KeyboardInterrupt):
        prepare(TFNS, data_dir=raw, out=tmp_path / "new")
    assert json.loads((out / "manifest.json").read_text("utf-8"))["digest"] == digest
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "out"}


def test_a_folder_of_somebody_else_is_never_replaced(raw, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="was not written by this command"):
        prepare(TFNS, data_dir=raw, out=tmp_path / "mine")


def test_what_was_prepared_is_read_back(raw, tmp_path):
    out = prepare(TFNS, data_dir=raw, out=tmp_path / "out").folder
    train, test = (read_split(TFNS, split, data_dir=out) for split in ("train", "test"))
    assert len(train.rows) == 30
    assert without_rows_of(train, test, task=TFNS) == train
    assert train.dropped["also in test"] == 1  # what was left out then is told again
    assert train.file.partial
    with pytest.raises(DataError, match="was prepared for task 'tfns', not 'nwgi'"):
        read_split(tasks.get("nwgi"), "test", data_dir=out)
    with pytest.raises(DataError, match="prepared without a validation split"):
        read_split(TFNS, "validation", data_dir=out)
    (out / "test.parquet").write_bytes((out / "train.parquet").read_bytes())
    with pytest.raises(DataError, match="is not the file that was prepared"):
        read_split(TFNS, "test", data_dir=out)


def test_only_what_is_there_is_prepared(write, tmp_path):
    write("raw/tfns/sent_valid.csv", "text,label\r\nx,2\r\n")
    found = prepare(TFNS, data_dir=tmp_path / "raw", out=tmp_path / "out")
    assert list(found.manifest["splits"]) == ["test"]
    with pytest.raises(MissingFileError, match="has no file for task 'fpb'"):
        prepare(tasks.get("fpb"), data_dir=tmp_path / "raw", out=tmp_path / "fpb")
    assert not (tmp_path / "fpb").exists()


def test_rows_of_a_filing_that_is_tested_are_not_trained_on(write, tmp_path):
    def asked(i, url):
        context = (
            f"Answer the following question. Question: Q{i}?\nDocument Pages Context:\nPage {i}\n\n"
        )
        return {"context": context + "Answer:", "target": "Yes", "url": url}

    write("raw/financebench/finlora/financebench_train.jsonl", [asked(1, "A"), asked(2, "B")])
    write("raw/financebench/finlora/financebench_test.jsonl", [asked(3, "B")])
    found = prepare(tasks.get("financebench"), data_dir=tmp_path / "raw", out=tmp_path / "out")
    assert found.manifest["splits"]["train"]["rows"] == 1
    assert found.manifest["splits"]["train"]["dropped"] == {"its filing is also in test": 1}
    assert found.manifest["licence"]["noncommercial"]


def test_generated_rows_can_be_prepared(tmp_path):
    found = prepare(tasks.get("synthetic_ner"), data_dir=None, out=tmp_path / "out")
    assert found.manifest["splits"]["test"]["rows"] == 300


def test_many_rows_are_read_by_several_processes_to_the_same_end(raw, monkeypatch):
    plain = read_split(TFNS, "train", data_dir=raw)
    monkeypatch.setattr(forms, "_CHUNK", 20)
    assert read_split(TFNS, "train", data_dir=raw) == plain
