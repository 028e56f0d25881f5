"""A data set is recognised by what is trained, in order, and by nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow
import pytest
from datasets import Dataset, Features, LargeList, List, Value

from fin_qlora.errors import DataError
from fin_qlora.training.batches.data_digest import data_digest, require_same_data

ROWS = [
    {
        "input_ids": [i, i + 1, 7][: i % 3 + 1],
        "labels": [-100, 1, 2][: i % 3 + 1],
        "task": "ab"[i % 2],
    }
    for i in range(12)
]


@pytest.fixture
def digest():
    return data_digest(Dataset.from_list(ROWS))


def test_it_is_that_of_the_rows_however_they_are_stored(digest):
    data = Dataset.from_list(ROWS)
    assert len(digest) == 64
    assert data_digest(ROWS) == digest
    assert data_digest(data.add_column("text", ["x"] * 12)) == digest
    assert data_digest(data.with_format("torch")) == digest
    shuffled = data.select([*range(6, 12), *range(6)])
    assert data_digest(shuffled.select([*range(6, 12), *range(6)])) == digest
    small = Features(
        input_ids=LargeList(Value("int32")), labels=List(Value("int16")), task=Value("string")
    )
    assert data_digest(data.cast(small)) == digest
    pieces = [Dataset.from_list(ROWS[:5]), Dataset.from_list(ROWS[5:])]
    table = pyarrow.concat_tables([piece.data.table for piece in pieces])
    assert data_digest(Dataset(table)) == digest


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: [rows[1], rows[0], *rows[2:]],
        lambda rows: [{**rows[0], "task": "b"}, *rows[1:]],
        lambda rows: [{**rows[0], "labels": [9]}, *rows[1:]],
        lambda rows: [{**rows[0], "input_ids": [99]}, *rows[1:]],
        # the same tokens in another order of rows
        lambda rows: [{**rows[0], "input_ids": [0, 1]}, {**rows[1], "input_ids": [2]}, *rows[2:]],
        lambda rows: [{key: row[key] for key in ("input_ids", "labels")} for row in rows],
    ],
)
def test_any_change_changes_it(digest, change):
    assert data_digest(Dataset.from_list(change(ROWS))) != digest
    assert data_digest(change(ROWS)) != digest


def test_a_stream_has_none():
    assert data_digest(Dataset.from_list(ROWS).to_iterable_dataset()) == ""


def test_processes_with_other_rows_are_refused(monkeypatch, digest):
    data = Dataset.from_list(ROWS)
    require_same_data(data)
    monkeypatch.setattr("accelerate.PartialState", lambda: SimpleNamespace(num_processes=3))
    others = [digest]
    monkeypatch.setattr("accelerate.utils.gather_object", lambda mine: [digest, *mine, *others])
    require_same_data(data)
    others[0] = "f" * 64
    with pytest.raises(DataError, match=r"rows of process 2 \(ffffffffffff\)"):
        require_same_data(data)
