"""`fin-qlora calibrate`: an adapter gets as sure as it is right, and answers as before."""

from __future__ import annotations

import json
import shutil

import pytest

from fin_qlora import load_adapter
from fin_qlora.cli.main import run
from fin_qlora.errors import AdapterMismatchError, EmptyDatasetError, UsageError
from fin_qlora.evaluation.calibrating import calibrate_adapter
from fin_qlora.evidence import read_manifest, read_record, verify_files

MOODS = ("up", "1"), ("down", "0"), ("flat", "2")


def write_rows(folder):
    """Rows of the three moods; validation holds rows that training and test have too."""
    (folder / "tfns").mkdir(parents=True)
    for name, start in (("sent_train", 0), ("sent_valid", 100)):
        lines = [f"it went {word} {start + n},{raw}" for n in range(8) for word, raw in MOODS]
        (folder / "tfns" / f"{name}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    names = {"up": "positive", "down": "negative", "flat": "neutral"}
    numbers = [*range(200, 208), 3, 104]
    rows = [
        {"text": f"it went {word} {n}", "label": names[word if n % 4 else "flat"]}
        for n in numbers
        for word in names
    ]
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def trained(run_on, tmp_path_factory):
    work = tmp_path_factory.mktemp("calibrated")
    write_rows(work)
    run_on("tfns", data_dir=work)
    return work


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained / "adapter", tmp_path / "adapter")


def test_a_fit_is_kept_and_answers_stay(trained, folder, capsys):
    before = load_adapter(folder).predict(["it went up 1", "it went flat 2"])
    capsys.readouterr()
    code = run(["calibrate", str(folder), "--data-dir", str(trained), "--format", "json"])
    (told,) = json.loads(capsys.readouterr().out)["tasks"]
    assert code == 0
    assert (told["task"], told["rows"], told["left_out"]) == ("tfns", 24, 6)
    assert "bias" not in told
    assert told["after"] < told["before"]
    (kept,) = read_record(folder)["tasks"]
    assert kept["calibration"]["temperature"] == told["temperature"] != 1
    assert verify_files(folder) == []
    former, now = read_manifest(trained / "adapter"), read_manifest(folder)
    assert {**now, "files": {}} == {**former, "files": {}}

    after = load_adapter(folder).predict(["it went up 1", "it went flat 2"])
    assert [one.label for one in after] == [one.label for one in before]
    assert [one.scores for one in after] != [one.scores for one in before]


def test_a_second_fit_replaces_the_first(trained, folder):
    first, second = (calibrate_adapter(folder, data_dir=trained) for _ in range(2))
    assert first == second, "it is fitted on what the adapter says, not on what was fitted"


def test_rows_that_were_trained_on_are_refused(trained, folder, tmp_path):
    with pytest.raises(UsageError, match="trained on"):
        calibrate_adapter(folder, data_dir=trained, split="train")
    work = tmp_path / "same"
    shutil.copytree(trained / "tfns", work / "tfns")
    rows = [{"text": f"it went up {n}", "label": "positive"} for n in range(8)]
    (work / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(EmptyDatasetError, match="Every validation row of 'tfns' is also a train"):
        calibrate_adapter(folder, data_dir=work)
    assert read_record(folder) == read_record(trained / "adapter")


def test_too_few_rows_change_nothing(trained, folder):
    with pytest.raises(EmptyDatasetError, match="10 rows"):
        calibrate_adapter(folder, data_dir=trained, limit=10)
    assert read_record(folder) == read_record(trained / "adapter")


def test_an_adapter_that_was_changed_is_refused(trained, folder):
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(AdapterMismatchError, match="tokenizer_config"):
        calibrate_adapter(folder, data_dir=trained)


def test_free_answers_are_refused(trained, folder):
    with pytest.raises(UsageError, match="free answers"):
        calibrate_adapter(folder, tasks=["finer"], data_dir=trained)
