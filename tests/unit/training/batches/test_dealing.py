"""A global batch over micro-batches and processes: the same rows, about the same tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.training.batches.dealing import Cut, dealt, repeated

CUTS = st.builds(
    Cut,
    micro_batch=st.integers(1, 5),
    accumulation=st.integers(1, 4),
    processes=st.integers(1, 4),
)


def flat(turns):
    return [row for turn in turns for micro in turn for row in micro]


@given(CUTS, st.data(), st.booleans())
def test_each_row_is_dealt_once_and_no_process_waits_in_vain(cut, data, grouped):
    lengths = data.draw(
        st.lists(st.integers(1, 3000), min_size=1, max_size=cut.global_batch), label="lengths"
    )
    rows = list(range(100, 100 + len(lengths)))
    turns = dealt(rows, lengths, cut=cut, grouped=grouped)
    assert len(turns) == cut.turns(len(rows)) <= cut.accumulation
    for turn in turns:
        assert len(turn) == cut.processes
        assert all(0 < len(micro) <= cut.micro_batch for micro in turn)
    missing = max(0, cut.turns(len(rows)) * cut.processes - len(rows))
    again = repeated(len(rows), cut=cut)
    assert [len(turn) for turn in again] == [cut.processes] * len(turns)
    once = [
        row
        for turn, flags in zip(turns, again, strict=True)
        for micro, flag in zip(turn, flags, strict=True)
        for row in micro
        if not flag
    ]
    assert sorted(once) == rows
    assert len(flat(turns)) == len(rows) + missing
    if len(rows) >= cut.processes and cut.micro_batch > 1:
        assert missing == 0


def test_long_rows_are_put_with_short_ones():
    lengths = [3000, 2900, 1100, 1000, 2000, 2100, 100, 0]
    cut = Cut(micro_batch=2, accumulation=2, processes=2)
    turns = dealt(range(8), lengths, cut=cut, grouped=False)
    sums = [sum(lengths[row] for row in micro) for turn in turns for micro in turn]
    assert sums == [3100, 3100, 3000, 3000]
    alike = dealt(range(8), lengths, cut=cut, grouped=True)
    assert alike == [[[0, 1], [5, 4]], [[6, 7], [2, 3]]]


@pytest.mark.parametrize("processes", [2, 4])
def test_what_a_process_computes_in_all_is_even(processes):
    cut = Cut(micro_batch=2, accumulation=4, processes=processes)
    lengths = [100 * (place % 17 + 1) for place in range(cut.global_batch)]
    turns = dealt(range(len(lengths)), lengths, cut=cut, grouped=True)
    totals = [
        sum(lengths[row] for turn in turns for row in turn[process]) for process in range(processes)
    ]
    assert max(totals) < 1.05 * min(totals)
