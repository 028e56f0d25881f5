"""Finished rows survive whatever ends a process, and those of another evaluation are refused."""

from __future__ import annotations

import json

import pytest

from fin_qlora.errors import CheckpointMismatchError, DataError, UsageError
from fin_qlora.evaluation.journal import Journal

ASKED = {"model": "ab" * 32, "quantization": "4bit", "limit": None}


def journal(folder, *, rank=0, **changes):
    return Journal(folder / "journal", name="tfns.likelihood", identity=ASKED | changes, rank=rank)


def results(found):
    return {row: one.result for row, one in found.done.items()}


def test_what_was_added_is_read_again_from_all_processes(tmp_path):
    first, second = journal(tmp_path), journal(tmp_path, rank=1)
    first.add([4, 0], [{"up": -0.5}, {"up": -1.25}], seconds=3.0)
    second.add([2], [{"up": -2.0}], seconds=1.0)
    first.add([1], [{"up": -0.1}], seconds=0.5)
    first.close()
    second.close()
    again = journal(tmp_path)
    assert results(again) == {
        4: {"up": -0.5},
        0: {"up": -1.25},
        1: {"up": -0.1},
        2: {"up": -2.0},
    }
    assert [again.done[row].seconds for row in (4, 0, 1, 2)] == [1.5, 1.5, 0.5, 1.0]


def test_nothing_is_written_before_the_first_batch(tmp_path):
    journal(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("torn", [b'{"rows": [7], "resu', b"\xff\xfe", b"{"])
def test_a_torn_line_is_cut_off_and_the_file_goes_on(tmp_path, torn):
    first = journal(tmp_path)
    first.add([0], ["a"], seconds=1)
    first.close()
    (path,) = (tmp_path / "journal").iterdir()
    with path.open("ab") as stream:
        stream.write(torn)
    again = journal(tmp_path)
    assert results(again) == {0: "a"}
    again.add([1], ["b"], seconds=1)
    again.close()
    assert results(journal(tmp_path)) == {0: "a", 1: "b"}
    assert [json.loads(line).keys() for line in path.read_bytes().splitlines()]


def test_a_file_whose_first_line_was_torn_begins_anew(tmp_path):
    (tmp_path / "journal").mkdir()
    path = tmp_path / "journal" / "tfns.likelihood.0.jsonl"
    path.write_bytes(b'{"identity": {"mo')
    found = journal(tmp_path)
    assert found.done == {}
    found.add([3], ["c"], seconds=1)
    found.close()
    assert results(journal(tmp_path)) == {3: "c"}


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path):
    found = journal(tmp_path)
    found.add([0], ["a"], seconds=1)
    found.add([1], ["b"], seconds=1)
    found.close()
    (path,) = (tmp_path / "journal").iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"nonsense\n", *lines[2:]]))
    with pytest.raises(DataError, match="is damaged"):
        journal(tmp_path)


def test_rows_of_another_evaluation_are_refused_by_the_setting_that_differs(tmp_path):
    found = journal(tmp_path)
    found.add([0], ["a"], seconds=1)
    found.close()
    with pytest.raises(CheckpointMismatchError, match="quantization was 4bit, and is none now"):
        journal(tmp_path, quantization="none")
    with pytest.raises(CheckpointMismatchError, match="model was abababababab, and is cdcd"):
        journal(tmp_path, model="cd" * 32)
    with pytest.raises(CheckpointMismatchError, match="limit was None, and is 5 now"):
        journal(tmp_path, limit=5)


def test_two_evaluations_do_not_write_one_file(tmp_path):
    first, second = journal(tmp_path), journal(tmp_path)
    first.add([0], ["a"], seconds=1)
    with pytest.raises(UsageError, match="Another evaluation is writing"):
        second.add([1], ["b"], seconds=1)
    first.close()
    second.add([1], ["b"], seconds=1)
    second.close()


def test_rows_of_another_evaluation_that_came_meanwhile_are_not_joined(tmp_path):
    mine, other = journal(tmp_path), journal(tmp_path, quantization="none")
    other.add([0], ["theirs"], seconds=1)
    other.close()
    with pytest.raises(CheckpointMismatchError, match="quantization was none, and is 4bit now"):
        mine.add([1], ["mine"], seconds=1)
    assert results(journal(tmp_path, quantization="none")) == {0: "theirs"}
    other.add([2], ["more"], seconds=1)  # the lock was let go
    other.close()


def test_an_identity_that_is_none_is_damage(tmp_path):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "tfns.likelihood.0.jsonl").write_bytes(b'{"identity": ["model"]}\n')
    with pytest.raises(DataError, match="is damaged"):
        journal(tmp_path)
