"""Reading rows as they really come, and refusing what would train wrong."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest

from fin_qlora import tasks
from fin_qlora.data.table import normalised, read_split, read_splits, without_rows_of
from fin_qlora.errors import DataError, EmptyDatasetError, MissingFileError, UnknownLabelError
from fin_qlora.tasks import SplitRule

TFNS = tasks.get("tfns")


@pytest.fixture
def raw(tmp_path):
    def write(train: str, test: str = "text,label\r\nheld out,2\r\n"):
        folder = tmp_path / "tfns"
        folder.mkdir(exist_ok=True)
        (folder / "sent_train.csv").write_bytes(train.encode("utf-8"))
        (folder / "sent_valid.csv").write_bytes(test.encode("utf-8"))
        return tmp_path

    return write


def test_line_breaks_inside_fields_are_kept_and_labels_become_words(raw):
    data = raw('text,label\r\n"one\ntwo",0\r\n"a, b",1\r\nthree,2\r\n')
    table = read_split(TFNS, "train", data_dir=data)
    assert [row["text"] for row in table.rows] == ["one\ntwo", "a, b", "three"]
    assert [row["label"] for row in table.rows] == ["negative", "positive", "neutral"]
    assert table.file.path == "tfns/sent_train.csv"
    assert table.file.partial  # 3 of 9,543


def test_an_empty_text_is_left_out_and_counted(raw):
    table = read_split(TFNS, "train", data_dir=raw("text,label\n ,0\nx,1\n"))
    assert [row["text"] for row in table.rows] == ["x"]
    assert table.dropped == {"empty text": 1}


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ("text,label\nx,7\n", UnknownLabelError, "sent_train.csv, row 1 has the label '7'"),
        ("text,label\n", EmptyDatasetError, "no usable row"),
        ("tweet,label\nx,1\n", DataError, "no column 'text'"),
        ('text,label\n"open,1\n', DataError, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(raw, content, error, says):
    with pytest.raises(error, match=says):
        read_split(TFNS, "train", data_dir=raw(content))


def test_latin_1_is_not_guessed(raw):
    data = raw("text,label\nx,1\n")
    (data / "tfns" / "sent_train.csv").write_bytes("text,label\nM\xfcller,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_split(TFNS, "train", data_dir=data)


def test_a_missing_folder_or_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="does not exist"):
        read_split(TFNS, "train", data_dir=tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match=r"Looked for: tfns/sent_train\.csv"):
        read_split(TFNS, "train", data_dir=tmp_path)
    with pytest.raises(MissingFileError, match="--data_dir"):
        read_split(TFNS, "train", data_dir=None)


def test_prepared_files_with_label_words_are_read(tmp_path):
    rows = [{"text": "up", "label": "positive"}, {"text": "flat", "label": "neutral"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read_split(TFNS, "train", data_dir=tmp_path).rows == rows
    assert read_split(TFNS, "test", data_dir=tmp_path).rows == rows


def test_rows_of_the_evaluation_are_taken_out_of_training(raw):
    data = raw(
        "text,label\nUp 3% https://t.co/a,1\nkept,2\n", "text,label\nup  3% https://t.co/b,1\n"
    )
    train, held_out = (read_split(TFNS, s, data_dir=data) for s in ("train", "test"))
    kept = without_rows_of(train, held_out)
    assert [row["text"] for row in kept.rows] == ["kept"]
    assert kept.dropped == {"also in evaluation": 1}
    with pytest.raises(EmptyDatasetError):
        without_rows_of(held_out, held_out)


def test_normalised_ignores_links_case_and_blanks():
    assert normalised(" A  b https://t.co/x ") == normalised("a B")
    assert normalised("a b") != normalised("a c")


def test_generated_rows_have_a_digest_that_follows_the_seed():
    task = tasks.get("synthetic_sentiment")
    first, again, other = (read_split(task, "test", data_dir=None, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.file.sha256 != other.file.sha256
    assert first.file.path.startswith("synthetic:")


def test_validation_is_taken_from_train_and_the_test_stays(raw):
    lines = "".join(f"row {i},{i % 3}\n" for i in range(40))
    data = raw("text,label\n" + lines)
    rule = SplitRule(validation=0.25)
    found = read_splits(TFNS, data_dir=data, rule=rule)
    assert {split: len(table.rows) for split, table in found.items()} == {
        "train": 30,
        "validation": 10,
        "test": 1,
    }
    alone = read_split(TFNS, "validation", data_dir=data, rule=rule)
    assert alone.rows == found["validation"].rows


def test_what_was_left_out_of_a_pool_is_told_once(tmp_path):
    (tmp_path / "fpb").mkdir()
    lines = [f"Sentence {i}@neutral" for i in (*range(20), 0)]
    (tmp_path / "fpb" / "Sentences_50Agree.txt").write_text("\n".join(lines))
    found = read_splits(tasks.get("fpb"), data_dir=tmp_path)
    assert found["train"].dropped == {"the same question again": 1}
    assert found["test"].dropped == {}


def test_several_files_are_also_one(tmp_path):
    (tmp_path / "fpb").mkdir()
    for name in ("50", "66"):
        (tmp_path / "fpb" / f"Sentences_{name}Agree.txt").write_text(
            "".join(f"Sentence {i}@neutral\n" for i in range(20))
        )
    table = read_split(tasks.get("fpb"), "train", data_dir=tmp_path)
    assert [file.rows for file in table.files] == [20, 20]
    assert table.file.rows == 40
    assert table.file.path == "fpb/Sentences_50Agree.txt + fpb/Sentences_66Agree.txt"
    assert table.file.published == 4846 + 4217
    assert table.notes == ("2 of the 4 files of this form are not here.",)


def test_a_row_with_too_many_cells_is_named(raw):
    with pytest.raises(DataError, match="row 1 has more cells than the header has names"):
        read_split(TFNS, "train", data_dir=raw("text,label\nup, a lot,1\n"))


def test_with_a_task_groups_are_taken_out_too(raw):
    data = raw("text,label\nUp 3!,1\nkept,2\n", "text,label\nup - 3,1\n")
    train, held_out = (read_split(TFNS, s, data_dir=data) for s in ("train", "test"))
    assert not without_rows_of(train, held_out).dropped
    assert without_rows_of(train, held_out, task=TFNS).dropped == {
        "its words are also in evaluation": 1
    }


def test_further_columns_of_a_prepared_file_stay_with_their_row(tmp_path):
    rows = [{"text": "up", "label": "positive", "client": 7}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert read_split(TFNS, "train", data_dir=tmp_path).rows == [
        {"text": "up", "label": "positive", "client": "7"}
    ]


def test_facts_of_a_prepared_file_are_json_whether_it_lists_or_spells_them(tmp_path):
    facts = [{"text": "«up»", "keep": True}, {"text": "so", "keep": False}]
    rows = [
        {"text": "«up» so", "label": "positive", "facts": given}
        for given in (facts, json.dumps(facts), None)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = [row["facts"] for row in read_split(TFNS, "train", data_dir=tmp_path).rows]
    assert [json.loads(text) for text in found[:2]] == [facts, facts]
    assert found[2] == ""
