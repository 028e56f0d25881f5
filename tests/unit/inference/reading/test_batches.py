"""Rows are cut into batches by length, longest first, and what comes out is handed on at once."""

from __future__ import annotations

import pytest

from fin_qlora.errors import MemoryShortError, UsageError
from fin_qlora.inference.reading.batches import by_length, collected
from fin_qlora.inference.reading.beginning import shared_beginning
from fin_qlora.inference.reading.faults import memory_explained


def test_the_longest_come_first_and_none_is_left_out():
    batches = list(by_length([3, 9, 5, 1, 9], batch_size=2, fits=lambda rows, width: True))
    assert batches == [[1, 4], [2, 0], [3]]
    assert list(by_length([], batch_size=2, fits=lambda rows, width: True)) == []
    with pytest.raises(UsageError, match="batch_size is 0"):
        list(by_length([1], batch_size=0, fits=lambda rows, width: True))


def test_a_batch_is_as_wide_as_its_longest_row():
    batches = list(
        by_length([10, 4, 4, 4, 4], batch_size=9, fits=lambda rows, width: rows * width <= 12)
    )
    assert batches == [[0], [1, 2, 3], [4]]
    alone = list(by_length([50, 60], batch_size=9, fits=lambda rows, width: False))
    assert alone == [[1], [0]], "one row always may"


def test_batches_are_the_same_whoever_asks_them():
    widths = [3, 9, 5, 1, 9]
    everyone = list(by_length(widths, batch_size=2, fits=lambda rows, width: True))
    dealt = [
        list(
            by_length(
                widths,
                batch_size=2,
                fits=lambda rows, width: True,
                mine=lambda number, rows, rank=rank: number % 2 == rank,
            )
        )
        for rank in range(2)
    ]
    assert sorted(dealt[0] + dealt[1]) == sorted(everyone)


def test_what_is_done_is_kept_before_the_next_batch_is_asked():
    events: list[object] = []

    def results():
        for batch in (["a", "b"], ["c"]):
            events.append("asked")
            yield batch

    found = collected(
        [[2, 0], [3]],
        results(),
        widths=[1] * 4,
        keep=lambda rows, values: events.append((rows, values)),
        progress=events.append,
    )
    assert found == ["b", None, "a", "c"]
    assert events == ["asked", ([2, 0], ["a", "b"]), 2, "asked", ([3], ["c"]), 3]


def test_a_row_that_does_not_fit_alone_is_told_another_way_out():
    def results():
        raise MemoryError
        yield

    with pytest.raises(MemoryShortError, match="1 rows of 7 tokens") as error:
        collected([[0]], results(), widths=[7], keep=None, progress=None)
    assert "4 bits" in error.value.fix


def test_a_beginning_is_what_all_rows_share_and_worth_a_pass(monkeypatch):
    shared = list(range(10))
    prompts = [[*shared, row, 99] for row in range(4)]
    assert shared_beginning(prompts) == shared
    assert shared_beginning(prompts[:3]) == [], "too few rows"
    assert shared_beginning([prompt[5:] for prompt in prompts]) == [], "too few tokens"
    assert shared_beginning([*prompts, shared[:-1]]) == shared[:8], "each row keeps a token"
    assert shared_beginning([]) == []


@pytest.mark.parametrize(
    "said",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_whatever_an_allocator_says_it_is_a_lack_of_memory(said):
    with (
        pytest.raises(MemoryShortError, match="Use a batch size of 2"),
        memory_explained(rows=4, width=9, done=0),
    ):
        raise RuntimeError(said)


def test_other_faults_stay_what_they_are():
    with (
        pytest.raises(RuntimeError, match="shape mismatch"),
        memory_explained(rows=4, width=9, done=0),
    ):
        raise RuntimeError("shape mismatch")
