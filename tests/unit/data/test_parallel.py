"""Work over the cores: results in order, an error ends the whole."""

from __future__ import annotations

import operator

import pytest

from fin_qlora.data.parallel import in_parallel


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_their_order(workers):
    assert in_parallel(operator.neg, [1, 2, 3], title="x", workers=workers) == [-1, -2, -3]


def test_nothing_to_do():
    assert in_parallel(operator.neg, [], title="x") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_worker_is_the_caller_s(workers):
    with pytest.raises(TypeError):
        in_parallel(operator.neg, [1, "a", 3], title="x", workers=workers)
