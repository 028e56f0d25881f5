"""A build is whole or absent, repeats itself to the byte, goes on where it stopped."""

import errno
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from synthetic_filings import Company, instance, write_classic, write_inline, write_labels

from fin_qlora.errors import (
    DataError,
    DiskFullError,
    EmptyDatasetError,
    MissingFileError,
    UsageError,
)
from fin_qlora.xbrl import BuildSettings, build, builder, parts
from fin_qlora.xbrl.layout import read_segment

FILES = ("report.json", "test.jsonl", "train.jsonl", "validation.jsonl")


def rows_of(folder, *splits):
    return [
        json.loads(line)
        for split in splits or ("train", "validation", "test")
        for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture
def made(filings, tmp_path):
    report = build(filings, tmp_path / "out", workers=1)
    return report, tmp_path / "out"


def test_every_task_and_split_is_there(made):
    report, out = made
    assert report.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == list(FILES)
    rows = rows_of(out)
    assert {row["task"] for row in rows} == {
        "tag", "value", "formula", "formula_calc", "context", "absent",
    }  # fmt: skip
    assert dict(report.rows) == {
        split: len(rows_of(out, split)) for split in ("train", "validation", "test")
    }
    assert all(report.rows.values())
    for split in ("train", "validation", "test"):
        ids = [row["id"] for row in rows_of(out, split)]
        assert ids == sorted(set(ids))
        assert {row["split"] for row in rows_of(out, split)} == {split}


def test_no_company_is_in_two_splits(made):
    report, out = made
    seen = {split: {row["meta"]["cik"] for row in rows_of(out, split)} for split in report.rows}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]
    assert report.details["shared_companies"] == 0


def test_a_row_says_where_it_comes_from(made, filings):
    _, out = made
    for row in rows_of(out):
        meta = row["meta"]
        source = filings / meta["source_place"] / meta["source_file"]
        assert source.is_file()
        assert meta["company"] in row["question"]
        assert row["messages"][0]["content"] == (
            f"{row['instruction']}\n\n{row['segment']}\n\nQuestion: {row['question']}"
        )
        assert row["messages"][1]["content"] == row["answer"]
        assert str(filings) not in json.dumps(row)
        assert meta["tokens_est"] <= 3000
        assert read_segment(row["segment"])


def test_no_answer_stands_in_its_question_and_no_absent_fact_in_its_segment(made):
    _, out = made
    for row in rows_of(out):
        meta = row["meta"]
        assert row["answer"] == "0" or row["answer"] not in row["question"]
        shown = [
            line
            for line in read_segment(row["segment"])
            if (line.concept, line.period) == (meta["concept"], meta["context"]["period"])
            and dict(line.dimensions) == meta["context"]["dimensions"]
        ]
        assert bool(shown) == (row["task"] != "absent")


def test_the_same_bytes_whatever_the_hash_seed_and_the_workers(filings, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom fin_qlora.xbrl import build\n"
        "if __name__ == '__main__':\n"
        "    build(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]))\n"
    )
    made = []
    for hash_seed, workers in (("1", "1"), ("2", "2")):
        out = tmp_path / f"out{hash_seed}"
        subprocess.run(
            [sys.executable, str(program), str(filings), str(out), workers],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
        )
        made.append(contents(out))
    assert made[0] == made[1]


def test_another_seed_asks_otherwise_and_one_shot_shows_an_example(made, filings, tmp_path):
    _, out = made
    build(filings, tmp_path / "other", workers=1, seed=7, one_shot=True)
    before, after = rows_of(out), rows_of(tmp_path / "other")
    assert not {row["id"] for row in before} & {row["id"] for row in after}
    assert not any("Example answer" in row["instruction"] for row in before)
    assert all("Example answer" in row["instruction"] for row in after)


def test_one_filing_more_moves_no_other_row(made, filings, tmp_path):
    _, out = made
    write_classic(filings / "late", Company(9))
    build(filings, tmp_path / "more", workers=1)
    before = {row["id"]: {**row, "split": ""} for row in rows_of(out)}
    after = {row["id"]: {**row, "split": ""} for row in rows_of(tmp_path / "more")}
    assert before.items() <= after.items()


def test_an_interrupted_build_leaves_nothing_and_goes_on(filings, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(filings, out, workers=1, progress=stop)
    assert not out.exists()
    parts = list((tmp_path / ".out.parts" / "parts").iterdir())
    assert len(parts) == 4

    made_again = []
    original = builder.build_part
    monkeypatch.setattr(
        builder, "build_part", lambda *a, **k: made_again.append(a) or original(*a, **k)
    )
    build(filings, out, workers=1)
    assert len(made_again) == 2
    assert not (tmp_path / ".out.parts").exists()
    build(filings, tmp_path / "whole", workers=1)
    assert contents(out) == contents(tmp_path / "whole")


def test_a_changed_filing_is_read_again(filings, tmp_path):
    def stop(done, total):
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(filings, tmp_path / "out", workers=1, progress=stop)
    file = write_classic(filings / Company(0).stem, Company(0))
    file.write_bytes(file.read_bytes().replace(b"Invented Holdings A", b"Renamed Holdings A"))
    build(filings, tmp_path / "out", workers=1)
    assert any("Renamed" in row["question"] for row in rows_of(tmp_path / "out"))


def test_rows_with_other_fields_are_made_again(filings, tmp_path, monkeypatch):
    def stop(done, total):
        if done == total:
            raise KeyboardInterrupt

    monkeypatch.setattr(parts, "ROW_VERSION", parts.ROW_VERSION - 1)
    with pytest.raises(KeyboardInterrupt):
        build(filings, tmp_path / "out", workers=1, progress=stop)
    monkeypatch.undo()
    made_again = []
    original = builder.build_part
    monkeypatch.setattr(
        builder, "build_part", lambda *a, **k: made_again.append(a) or original(*a, **k)
    )
    build(filings, tmp_path / "out", workers=1)
    assert len(made_again) == 6


def test_a_full_disk_leaves_the_old_rows(made, filings, monkeypatch):
    _, out = made
    before = contents(out)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(builder, "write_json", full)
    with pytest.raises(DiskFullError):
        build(filings, out, workers=1, seed=1)
    assert contents(out) == before


def test_two_builds_into_one_folder(filings, tmp_path):
    with (
        builder._locked(tmp_path / ".out.parts"),
        pytest.raises(UsageError, match="Another build"),
    ):
        build(filings, tmp_path / "out", workers=1)


def test_what_cannot_be_built_says_so(filings, tmp_path):
    with pytest.raises(MissingFileError, match="no folder"):
        build(tmp_path / "nowhere", tmp_path / "out", workers=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyDatasetError, match="gives a question"):
        build(tmp_path / "empty", tmp_path / "out", workers=1)
    for target in (filings, filings.parent):
        with pytest.raises(UsageError, match="holds the filings"):
            build(filings, target, workers=1)


def _dies(place: str) -> str:
    if place == "bad":
        os._exit(9)
    return place.upper()


def test_a_worker_that_dies_takes_its_part_with_it_and_no_other():
    from fin_qlora.xbrl.runner import run

    jobs = ["a", "b", "bad", "c", "d", "e", "f"]
    done = dict(run(_dies, jobs, workers=2))
    assert done == {job: None if job == "bad" else job.upper() for job in jobs}


def test_copies_of_a_filing_are_taken_once(filings, tmp_path):
    company = Company(0)
    with zipfile.ZipFile(filings / "0000001000-24-000001-xbrl.zip", "w") as archive:
        for file in (filings / company.stem).iterdir():
            archive.write(file, file.name)
    report = build(filings, tmp_path / "out", workers=1)
    assert report.filings == 6
    assert len(report.details["copies"]) == 1


def test_several_filings_in_one_folder_are_told_apart(tmp_path):
    for number in range(4):
        write = write_inline if number % 2 else write_classic
        write(tmp_path / "flat", Company(number))
        write_labels(tmp_path / "flat", Company(number))
    report = build(tmp_path / "flat", tmp_path / "out", workers=1)
    assert report.filings == 4
    for filing in report.details["filings"]:
        assert [document["kind"] for document in filing["documents"]][1:] == ["labels"]


def test_the_list_of_filings_fills_in_and_decides(filings, tmp_path):
    stem = Company(2).stem
    (filings / "manifest.csv").write_text(
        f"place,ticker,filed,split\n{stem},INVT,2024-02-03,test\n", "utf-8"
    )
    build(filings, tmp_path / "out", workers=1)
    rows = [row for row in rows_of(tmp_path / "out") if row["meta"]["source_place"] == stem]
    assert {(row["split"], row["meta"]["ticker"], row["meta"]["filed"]) for row in rows} == {
        ("test", "INVT", "2024-02-03")
    }
    (filings / "manifest.csv").write_text("place,color\nx,red\n", "utf-8")
    with pytest.raises(DataError, match="color"):
        build(filings, tmp_path / "out", workers=1)


def test_one_concept_fills_no_more_than_its_share(filings, tmp_path):
    settings = BuildSettings(concept_rows=1, concept_share=0.0)
    report = build(filings, tmp_path / "out", workers=1, settings=settings)
    asked = [row for row in rows_of(tmp_path / "out", "train") if "formula" not in row["meta"]]
    concepts = [row["meta"]["concept"] for row in asked]
    assert len(concepts) == len(set(concepts))
    assert report.details["over_the_concept_cap"] > 0


@pytest.mark.parametrize("mode", ["verbatim", "inline_table", "compat"])
def test_other_modes(filings, tmp_path, mode):
    build(filings, tmp_path / "out", workers=1, settings=BuildSettings(mode=mode))
    rows = rows_of(tmp_path / "out")
    assert len(rows) > 20
    assert {row["meta"]["mode"] for row in rows} == {mode}
    if mode == "inline_table":
        assert all("<table>" in row["segment"] and "scale=" in row["segment"] for row in rows)
    if mode == "compat":
        assert all("</>" in row["segment"] and "contextRef" not in row["segment"] for row in rows)
    if mode == "verbatim":
        assert any('contextRef="before"' in row["segment"] for row in rows)


def test_a_split_in_time_takes_known_facts_out_of_the_test(tmp_path):
    company, later = Company(0), Company(0)
    write_classic(tmp_path / "f" / "2023", company)
    text = write_classic(tmp_path / "f" / "2024", later).read_text()
    moved = text.replace("2023-12-31", "2024-12-31").replace("2023-01-01", "2024-01-01")
    moved = moved.replace("2022-12-31", "2023-12-31").replace("2022-01-01", "2023-01-01")
    (tmp_path / "f" / "2024" / f"{later.stem}.xml").unlink()
    (tmp_path / "f" / "2024" / "inv0-20241231.xml").write_text(
        moved.replace("inv0-20231231", "inv0-20241231")
    )
    settings = BuildSettings(split_by="time", test_share=0.5, validation_share=0)
    report = build(tmp_path / "f", tmp_path / "out", workers=1, settings=settings)
    assert report.details["known_to_train"] > 0
    assert not {row["meta"]["key_digest"] for row in rows_of(tmp_path / "out", "train")} & {
        row["meta"]["key_digest"] for row in rows_of(tmp_path / "out", "test")
    }
    ends = {row["meta"]["period_end"] for row in rows_of(tmp_path / "out", "test")}
    assert ends == {"2024-12-31"}


def test_a_filing_without_numbers_is_reported(filings, tmp_path):
    (filings / "blank").mkdir()
    (filings / "blank" / "a.xml").write_bytes(instance(""))
    report = build(filings, tmp_path / "out", workers=1)
    assert [problem.place for problem in report.problems] == ["blank/a.xml"]
    assert report.exit_code == 1


def test_real_filings_build_without_a_finding(real_filings: Path, tmp_path):
    report = build(real_filings, tmp_path / "out", workers=1)
    assert report.problems == ()
    assert report.details["shared_companies"] == 0
    assert report.details["rejected_elements"] == {}
    for row in rows_of(tmp_path / "out"):
        assert read_segment(row["segment"])
