"""Rows that are continued together read what they would read alone."""

from __future__ import annotations

from fin_qlora.inference.reading.writing import Writing


def test_each_pass_reads_the_last_tokens_of_the_rows_that_go_on():
    writing = Writing([[7, 8, 9], [5]], begun=2, stops=(1,), room=4)
    assert writing.ids.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert writing.positions.tolist() == [[2, 3, 4], [2, 2, 2]]
    # the beginning and what is before; of padding itself alone
    assert writing.allowed[1, 2].tolist() == [True, True, False, False, True]
    assert writing.allowed[0, 1].tolist() == [True, True, True, True, False]
    writing.take([4, 6])
    assert writing.ids.tolist() == [[4], [6]]
    assert writing.positions.tolist() == [[5], [3]]
    assert writing.allowed[1, 0].tolist() == [True, True, False, False, True, True]


def test_rows_that_have_ended_leave_their_caches():
    left = []

    class Layer:
        def leave(self, rows, *, holes, movers):
            left.append((rows, holes.tolist(), movers.tolist()))

    writing = Writing([[3], [4], [5]], begun=0, stops=(1,), room=3)
    writing.take([1, 8, 9], caches=[Layer()])
    assert left == [(2, [0], [2])]
    assert writing.ids.tolist() == [[9], [8]]  # the last row has moved to the first place
    writing.take([1, 7])
    assert not writing.ended
    writing.take([6])
    assert writing.ended  # the room is used up
    assert writing.answers == [[1], [8, 7, 6], [9, 1]]
