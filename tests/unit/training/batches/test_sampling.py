"""Batches are a function of data and seed: each row once, each task its share, tokens even."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.errors import EmptyDatasetError
from fin_qlora.training.batches.dealing import Cut
from fin_qlora.training.batches.sampling import GlobalBatches
from fin_qlora.training.batches.shares import RULES


def xbrl_like(counts, *, seed=0):
    """Lengths like those of questions on filings, 1,000 to 3,000 tokens, and their tasks."""
    draw = random.Random(seed)
    tasks = [task for task, count in counts.items() for _ in range(count)]
    draw.shuffle(tasks)
    longest = {"formula": 1_800}
    return [draw.randint(1_000, longest.get(task, 3_000)) for task in tasks], tasks


LENGTHS, TASKS = xbrl_like({"tag": 150, "value": 90, "formula": 37})
CUT = Cut(micro_batch=4, accumulation=2, processes=2)


def batches(cut=CUT, *, lengths=LENGTHS, tasks=TASKS, epoch=0, **options):
    """Return the global batches, put together from what every process gets."""
    sides = []
    for process in range(cut.processes):
        sampler = GlobalBatches(lengths, tasks=tasks, cut=cut, process=process, **options)
        sampler.set_epoch(epoch)
        side = list(sampler)
        assert len(side) == len(sampler)
        sides.append(side)
    turns = [[row for micro in turn for row in micro] for turn in zip(*sides, strict=True)]
    step = cut.accumulation
    return [list(chain(*turns[first : first + step])) for first in range(0, len(turns), step)]


@given(
    st.integers(1, 90),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.integers(0, 5),
)
def test_each_row_comes_once_in_an_epoch(rows, micro, accumulation, processes, grouped, epoch):
    cut = Cut(micro_batch=micro, accumulation=accumulation, processes=processes)
    lengths, tasks = xbrl_like({"a": rows, "b": rows // 3, "c": 1})
    found = Counter(
        row
        for batch in batches(cut, lengths=lengths, tasks=tasks, grouped=grouped, epoch=epoch)
        for row in batch
    )
    assert found.keys() == set(range(len(lengths)))
    rest = len(lengths) % cut.global_batch
    repeated = -rest % processes if micro == 1 or rest < processes else 0
    assert found.total() == len(lengths) + repeated


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("grouped", [False, True])
def test_the_rows_of_a_step_do_not_depend_on_how_it_is_cut(rule, grouped):
    whole = batches(Cut(micro_batch=16), rule=rule, grouped=grouped, epoch=2)
    assert len(whole) == 18
    for micro, accumulation, processes in ((1, 16, 1), (2, 8, 1), (4, 1, 4), (2, 2, 4), (8, 1, 2)):
        cut = Cut(micro_batch=micro, accumulation=accumulation, processes=processes)
        for ours, theirs in zip(
            batches(cut, rule=rule, grouped=grouped, epoch=2), whole, strict=True
        ):
            assert set(ours) == set(theirs)


@pytest.mark.parametrize("grouped", [False, True])
def test_epochs_and_seeds_differ_and_repeat(grouped):
    first = batches(grouped=grouped, seed=3)
    assert first == batches(grouped=grouped, seed=3)
    others = (
        batches(grouped=grouped, seed=4),
        batches(grouped=grouped, seed=3, epoch=1),
    )
    for other in others:
        pairs = zip(first, other, strict=True)
        assert sum(set(ours) == set(theirs) for ours, theirs in pairs) == 0


def task_counts(batch):
    return Counter(TASKS[row] for row in batch)


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        ("proportional", {"tag": 150, "value": 90, "formula": 37}),
        ("equal", {"tag": 92, "value": 92, "formula": 93}),
        ("temperature", {"tag": 122, "value": 94, "formula": 61}),
    ],
)
@pytest.mark.parametrize("grouped", [False, True])
def test_every_batch_has_its_share_of_each_task(rule, shares, grouped):
    found = batches(rule=rule, temperature=2.0, grouped=grouped, epoch=1)
    assert sum(map(task_counts, found), Counter()) == shares
    for batch in found:
        for task, share in shares.items():
            exact = len(batch) * share / len(LENGTHS)
            # each end of a batch is less than one row off
            assert abs(task_counts(batch)[task] - exact) < 2


def test_a_large_task_is_used_up_before_a_row_comes_again():
    seen = Counter()
    for epoch in range(3):
        rows = [row for batch in batches(rule="equal", epoch=epoch) for row in batch]
        seen.update(row for row in rows if TASKS[row] == "tag")
        assert max(seen.values()) - (min(seen.values()) if len(seen) == 150 else 0) <= 1
    assert seen.total() == 3 * 92
    small = Counter(
        row for batch in batches(rule="equal") for row in batch if TASKS[row] == "formula"
    )
    assert len(small) == 37
    assert set(small.values()) == {2, 3}


def sums(micro_batches):
    return [sum(LENGTHS[row] for row in micro) for micro in micro_batches]


def test_tokens_are_even_over_the_micro_batches_of_an_epoch():
    even = sums(GlobalBatches(LENGTHS, tasks=TASKS, cut=Cut(micro_batch=4, accumulation=4)))[:-2]
    assert max(even) < 1.1 * min(even)
    draw = random.Random(0)
    order = draw.sample(range(len(LENGTHS)), len(LENGTHS))
    by_chance = sums([order[first : first + 4] for first in range(0, 272, 4)])
    assert max(by_chance) > 1.7 * min(by_chance)


def test_grouped_rows_are_padded_little():
    sampler = GlobalBatches(LENGTHS, cut=Cut(micro_batch=4), grouped=True)
    micros = [[LENGTHS[row] for row in micro] for micro in sampler]
    assert max(micros[0]) == max(map(max, micros[:-1])), "what does not fit fails in the first step"
    longest = sum(max(micro) * len(micro) for micro in micros)
    assert sum(LENGTHS) > 0.96 * longest


def test_a_smaller_batch_at_the_end_may_be_left_out():
    assert [len(batch) for batch in batches()] == [16] * 17 + [5]
    assert [len(batch) for batch in batches(drop_last=True)] == [16] * 17
    with pytest.raises(EmptyDatasetError, match="3 rows make no batch of 16"):
        GlobalBatches([1, 2, 3], cut=CUT, drop_last=True)
    with pytest.raises(EmptyDatasetError):
        GlobalBatches([], cut=CUT)


def test_the_steps_that_were_made_say_the_epoch():
    done = 0
    sampler = GlobalBatches(LENGTHS, cut=CUT, steps_done=lambda: done)
    first = list(sampler)
    done = sampler.steps - 1
    assert list(sampler) == first
    done = sampler.steps
    second = list(sampler)
    assert second != first
    sampler = GlobalBatches(LENGTHS, cut=CUT)
    sampler.set_epoch(1)
    assert list(sampler) == second
