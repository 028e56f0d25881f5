"""Intervals against published values, scipy's, and what must hold by construction."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from fin_qlora.errors import EmptyDatasetError
from fin_qlora.evaluation import intervals
from fin_qlora.evaluation.intervals import cluster_bootstrap, draw_clusters, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, n, low, high):
    found = wilson(successes, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert (found.confidence, found.method, found.clusters) == (0.95, "wilson", None)


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (3, 7), (999, 1000), (50, 50)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_is_that_of_scipy(successes, n, confidence):
    found = wilson(successes, n, confidence=confidence)
    theirs = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert found.low == pytest.approx(theirs.low, abs=1e-12)
    assert found.high == pytest.approx(theirs.high, abs=1e-12)


def test_clusters_of_one_row_give_the_usual_interval():
    right = [1] * 160 + [0] * 40
    found = cluster_bootstrap(right, range(200), samples=4000)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 200)
    assert found.low == pytest.approx(0.8 - half, abs=0.01)
    assert found.high == pytest.approx(0.8 + half, abs=0.01)
    assert found.clusters == 200


def test_asking_each_question_seventeen_times_makes_nothing_surer():
    right = [1, 0, 1, 1, 0, 1, 1, 1, 0, 1]
    once = cluster_bootstrap(right, range(10))
    often = cluster_bootstrap(right * 17, list(range(10)) * 17)
    assert (often.low, often.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert often.clusters == 10
    alone = cluster_bootstrap(right * 17, range(170))
    assert alone.high - alone.low < (once.high - once.low) / 3


def test_seeds_and_portions_of_draws(monkeypatch):
    right = [1, 0, 0, 1, 1, 0, 1] * 30
    clusters = [n // 2 for n in range(210)]
    first = cluster_bootstrap(right, clusters, seed=1)
    assert first == cluster_bootstrap(right, clusters, seed=1)
    one, other = (draw_clusters(right, clusters, seed=seed).sums for seed in (1, 2))
    assert not np.array_equal(one, other)
    monkeypatch.setattr(intervals, "_AT_ONCE", 100)
    assert cluster_bootstrap(right, clusters, seed=1) == first


def test_draws_have_the_mean_and_spread_of_whole_clusters():
    values, clusters = [1.0, 3.0, 2.0, 2.0, 7.0, 5.0], "aabbcd"
    draws = draw_clusters(values, clusters, samples=20_000)
    sums, sizes = np.array([4.0, 4.0, 7.0, 5.0]), np.array([2, 2, 1, 1])
    # as many clusters are drawn as there are: each sum adds its mean and its variance
    assert draws.sums.mean() == pytest.approx(4 * sums.mean(), abs=0.05)
    assert draws.sums.var() == pytest.approx(4 * sums.var(), rel=0.05)
    assert draws.rows.var() == pytest.approx(4 * sizes.var(), rel=0.05)
    assert np.cov(draws.sums[:, 0], draws.rows)[0, 1] == pytest.approx(
        4 * np.cov(sums, sizes, bias=True)[0, 1], rel=0.1
    )


@pytest.mark.parametrize(("figure", "low", "high"), [(0, -1, 1), (1, -1, 1), (-1, -1, 1)])
def test_where_no_draw_differs_the_bounds_say_how_far_it_could_move(figure, low, high):
    found = cluster_bootstrap([figure] * 30, range(30), bounds=(low, high))
    other = wilson(0, 30).high
    assert found.low == pytest.approx(figure - other * (figure - low))
    assert found.high == pytest.approx(figure + other * (high - figure))
    assert (found.method, found.clusters) == ("wilson over clusters", 30)
    plain = cluster_bootstrap([figure] * 30, range(30))
    assert (plain.low, plain.high, plain.method) == (figure, figure, "cluster bootstrap")


def test_any_figure_of_sums_can_be_drawn():
    values = np.array([[1.0, 10.0], [3.0, 10.0], [2.0, 20.0]])
    found = cluster_bootstrap(values, "aab", statistic=lambda sums, rows: sums[:, 0] / sums[:, 1])
    # the draws are a and a, a and b, b and b
    assert (found.low, found.high) == (pytest.approx(0.1), pytest.approx(0.2))
    rows = cluster_bootstrap(values, "aab", statistic=lambda sums, rows: rows)
    assert (rows.low, rows.high) == (2, 4)


def test_no_row_is_an_error():
    with pytest.raises(EmptyDatasetError):
        wilson(0, 0)
    with pytest.raises(EmptyDatasetError):
        cluster_bootstrap([], [])
    with pytest.raises(EmptyDatasetError, match="2 rows for 1"):
        cluster_bootstrap([1, 0], ["a"])
