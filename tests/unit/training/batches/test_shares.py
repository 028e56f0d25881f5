"""The rows of each task in an epoch: exact, and spread evenly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fin_qlora.errors import UnknownNameError, UsageError
from fin_qlora.training.batches.shares import RULES, check_rule, evenly_mixed, rows_per_epoch

SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=7)


@given(SIZES, st.sampled_from(RULES), st.floats(0.2, 50))
def test_an_epoch_has_as_many_rows_as_there_are_and_shares_are_exact(sizes, rule, temperature):
    shares = rows_per_epoch(sizes, rule=rule, temperature=temperature)
    power = {"proportional": 1.0, "equal": 0.0, "temperature": 1 / temperature}[rule]
    weights = [size**power for size in sizes]
    assert sum(shares) == sum(sizes)
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - sum(sizes) * weight / sum(weights)) < 1 + 1e-6


def test_the_rules_by_hand():
    assert rows_per_epoch([90, 9, 1], rule="proportional") == [90, 9, 1]
    assert sorted(rows_per_epoch([90, 9, 1], rule="equal")) == [33, 33, 34]
    # 10 : 5 of 125
    assert rows_per_epoch([100, 25], rule="temperature", temperature=2) == [83, 42]
    assert rows_per_epoch([100, 25], rule="temperature", temperature=1) == [100, 25]


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any))
def test_every_beginning_is_less_than_one_row_from_the_exact_shares(counts):
    order = evenly_mixed(counts)
    assert [order.count(task) for task in range(len(counts))] == counts
    given_so_far = [0] * len(counts)
    for place, task in enumerate(order, start=1):
        given_so_far[task] += 1
        for count, got in zip(counts, given_so_far, strict=True):
            assert abs(got - count * place / sum(counts)) < 1


def test_a_rule_or_temperature_that_does_not_exist_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'proportional'"):
        check_rule("proportionel", temperature=2)
    for temperature in (0, -1, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="greater than 0"):
            check_rule("temperature", temperature=temperature)
