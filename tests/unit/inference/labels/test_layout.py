"""Prompts and labels stand where the layout says, and read nothing that is not theirs."""

from __future__ import annotations

import torch

from fin_qlora.inference.labels.layout import LabelBatch, additive, picked_states
from fin_qlora.inference.labels.tree import LabelTree

TREE = LabelTree.of([[3, 9], [3, 4, 9], [5, 9]])
PROMPTS = [[11, 12, 13], [21]]


def test_a_batch_behind_a_beginning():
    batch = LabelBatch.of(PROMPTS, TREE, beginning=2)
    assert batch.input_ids.tolist() == [[11, 12, 13, 3, 4, 5], [21, 0, 0, 3, 4, 5]]
    assert batch.position_ids[0].tolist() == [2, 3, 4, 5, 6, 5]
    assert batch.position_ids[1, [0, 3, 4, 5]].tolist() == [2, 3, 4, 3]
    assert batch.picked.tolist() == [[2, 3, 4, 5], [0, 3, 4, 5]]
    seen = [row.nonzero().flatten().tolist() for row in batch.allowed[1]]
    assert seen[0] == [0, 1, 2]
    assert seen[3:] == [[0, 1, 2, 5], [0, 1, 2, 5, 6], [0, 1, 2, 7]]
    assert batch.allowed[0, 3].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert bool(batch.allowed.any(-1).all()), "every query reads something"


def test_some_rows_of_a_batch():
    batch = LabelBatch.of(PROMPTS, TREE)
    part = batch.rows(1, 2)
    assert part.input_ids.tolist() == batch.input_ids[1:].tolist()
    assert part.allowed.shape == (1, 6, 6)
    assert part.picked.tolist() == [[0, 3, 4, 5]]


def test_what_is_not_allowed_is_taken_away():
    allowed = torch.tensor([[[True, False]]])
    mask = additive(allowed, dtype=torch.bfloat16, device="cpu")
    assert mask.shape == (1, 1, 1, 2)
    assert mask.flatten().tolist() == [0.0, torch.finfo(torch.bfloat16).min]


def test_states_are_picked_row_by_row():
    hidden = torch.arange(12).view(2, 3, 2)
    assert picked_states(hidden, torch.tensor([[0, 2], [1, 1]])).tolist() == [
        [[0, 1], [4, 5]],
        [[8, 9], [8, 9]],
    ]
