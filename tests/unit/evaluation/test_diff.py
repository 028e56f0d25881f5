"""Rows that flipped between two runs, matched by what they ask."""

from __future__ import annotations

import pyarrow
import pyarrow.parquet
import pytest

from fin_qlora.errors import DataError, EmptyDatasetError
from fin_qlora.evaluation.diff import Marked, difference, write_flips


def marked(*rows: tuple[str, str, str], options: str = "a, b") -> Marked:
    """Rows of (text, right answer, answer)."""
    fields = [
        {"text": text, "options": options, "gold": gold, "predicted": answer, "seconds": 0.5}
        for text, gold, answer in rows
    ]
    answers = [answer for _, _, answer in rows]
    return Marked(rows=fields, answers=answers, right=[g == a for _, g, a in rows])


A = marked(("1", "a", "a"), ("2", "a", "b"), ("3", "b", "b"), ("4", "b", "a"), ("4", "b", "c"))
B = marked(("3", "b", "a"), ("2", "a", "a"), ("1", "a", "a"), ("4", "b", "d"), ("4", "b", "b"))


def test_rows_are_matched_whatever_their_order():
    found = difference("t", A, B, clusters=range(5))
    assert (found.n, found.accuracy_a, found.accuracy_b) == (5, 0.4, 0.6)
    assert found.gain == pytest.approx(0.2)
    assert (found.wrong_to_right, found.right_to_wrong, found.changed) == (2, 1, 1)
    flips = [
        (one.row, one.fields["text"], one.gold, one.a, one.b, one.to_right) for one in found.flips
    ]
    assert flips == [
        (2, "2", "a", "b", "a", True),
        (3, "3", "b", "b", "a", False),
        (5, "4", "b", "c", "b", True),
    ]
    assert found.test.p_value == 1.0
    assert found.interval.low <= found.gain <= found.interval.high


def test_other_options_are_the_same_row():
    again = marked(*[(r["text"], r["gold"], r["predicted"]) for r in A.rows], options="b, a")
    found = difference("t", A, again, clusters=range(5))
    assert (found.flips, found.changed) == ((), 0)
    assert found.interval.low < 0 < found.interval.high, "no flip in five rows proves little"


def test_a_field_that_a_row_does_not_have_is_one_that_it_has_not_filled():
    filled = Marked(
        rows=[{**row, "company": None} for row in A.rows], answers=A.answers, right=A.right
    )
    assert difference("t", A, filled, clusters=range(5)).flips == ()


def test_few_clusters_are_told():
    assert difference("t", A, B, clusters=range(5)).to_dict()["few_clusters"]
    rows = marked(*[(str(n), "a", "a") for n in range(20)])
    assert not difference("t", rows, rows, clusters=range(20)).few_clusters


def test_no_row_is_an_error():
    with pytest.raises(EmptyDatasetError, match="have no row"):
        difference("t", marked(), marked(), clusters=[])


def test_all_flips_are_written(tmp_path):
    found = difference("t", A, B, clusters=range(5))
    write_flips(tmp_path / "flips.parquet", [found])
    rows = pyarrow.parquet.read_table(tmp_path / "flips.parquet").to_pylist()
    assert [row["flip"] for row in rows] == ["wrong to right", "right to wrong", "wrong to right"]
    assert rows[0] == {
        "text": "2",
        "options": "a, b",
        "task": "t",
        "row": 2,
        "gold": "a",
        "a": "b",
        "b": "a",
        "flip": "wrong to right",
    }
    write_flips(tmp_path / "none.parquet", [difference("t", A, A, clusters=range(5))])
    none = pyarrow.parquet.read_table(tmp_path / "none.parquet")
    assert none.num_rows == 0
    assert none.schema.field("row").type == pyarrow.int64()
    assert none.schema.field("flip").type == pyarrow.string()


def test_other_rows_are_an_error():
    short = marked(("1", "a", "a"), ("2", "a", "b"), ("9", "b", "b"))
    with pytest.raises(DataError, match="3 of 5 are only in the first, 1 of 3 only in the second"):
        difference("t", A, short, clusters=range(5))
    other_answer = marked(("1", "b", "a"))
    with pytest.raises(DataError, match="not over the same rows"):
        difference("t", marked(("1", "a", "a")), other_answer, clusters=[0])
