"""Rows of a batch are cut into parts of like size; none is left out."""

from __future__ import annotations

import pytest

from fin_qlora.inference.pipeline.micro_batches import cut_rows


@pytest.mark.parametrize("rows", [1, 3, 4, 7, 32])
@pytest.mark.parametrize("micro_batches", [1, 4, 5])
def test_every_row_is_in_one_part(rows, micro_batches):
    parts = cut_rows(rows, micro_batches=micro_batches)
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
    sizes = [len(range(rows)[part]) for part in parts]
    assert len(parts) == min(rows, micro_batches)
    assert max(sizes) - min(sizes) <= 1
