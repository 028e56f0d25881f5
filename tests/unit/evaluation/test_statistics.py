"""Tests of a difference against closed forms, scipy and published corrections."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from fin_qlora.errors import DataError
from fin_qlora.evaluation.intervals import wilson
from fin_qlora.evaluation.statistics import holm, mcnemar, paired_difference


def runs(only_a: int, only_b: int, both: int = 5, neither: int = 2):
    a = [True] * only_a + [False] * only_b + [True] * both + [False] * neither
    b = [False] * only_a + [True] * only_b + [True] * both + [False] * neither
    return a, b


def test_mcnemar_by_hand():
    found = mcnemar(*runs(1, 9))
    assert (found.n, found.both, found.neither, found.only_a, found.only_b) == (17, 5, 2, 1, 9)
    assert found.p_value == 2 * (1 + 10) / 2**10


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (4, 4), (0, 1), (3, 12), (1400, 1501)])
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    tosses = only_a + only_b
    theirs = binomtest(only_a, tosses, 0.5).pvalue if tosses else 1.0
    assert mcnemar(*runs(only_a, only_b)).p_value == pytest.approx(theirs, rel=1e-9)
    assert mcnemar(*runs(only_b, only_a)).p_value == pytest.approx(theirs, rel=1e-9)


def test_many_flips_are_counted_quickly():
    found = mcnemar(*runs(150_000, 151_500, both=0, neither=0))
    assert found.p_value == pytest.approx(binomtest(150_000, 301_500).pvalue, rel=1e-9)


def test_holm_steps_down():
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(found) == ["a", "b", "c", "d"]
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_a_difference_that_one_company_makes_is_none():
    # B is right on all forty rows of one company, and like A on thirty others
    a = [False] * 40 + [True, False] * 15
    b = [True] * 40 + [True, False] * 15
    clusters = ["x"] * 40 + [f"company {n}" for n in range(30)]
    assert mcnemar(a, b).p_value < 1e-11
    found = paired_difference(a, b, clusters)
    assert found.low == 0
    assert found.high > 0.7
    assert found.clusters == 31


def test_runs_without_a_flip_may_still_differ():
    found = paired_difference([True, False] * 20, [True, False] * 20, range(40))
    assert (found.low, found.high) == (-wilson(0, 40).high, wilson(0, 40).high)
    found = paired_difference([False] * 40, [True] * 40, range(40))
    assert (found.low, found.high) == (pytest.approx(1 - 2 * wilson(0, 40).high), 1)


def test_runs_of_other_lengths_are_an_error():
    with pytest.raises(DataError, match="1 and 2 rows"):
        mcnemar([True], [True, False])
    with pytest.raises(DataError, match="1 and 2 rows"):
        paired_difference([True], [True, False], ["a"])
