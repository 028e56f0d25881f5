"""The last layer's widest parts see only the columns that count, and answers stay the same."""

from __future__ import annotations

import pytest
import torch

from fin_qlora.inference.reading.last_layer import LastLayer
from fin_qlora.models.base import load_model

IDS = torch.arange(12).view(2, 6)
PICKED = torch.tensor([[1, 5], [0, 3]])
ROWS = torch.arange(2)[:, None]


@pytest.fixture(scope="module")
def model(small_base):
    return load_model(small_base, quantization="none").float()


@torch.no_grad()
def test_picked_columns_are_as_they_were(model):
    widths: list[int] = []
    handle = model.model.layers[-1].mlp.up_proj.register_forward_hook(
        lambda module, args, output: widths.append(output.shape[1])
    )
    before = model.model(input_ids=IDS).last_hidden_state
    last = LastLayer(model)
    with last.watched():
        untouched = model.model(input_ids=IDS).last_hidden_state
        last.picked = PICKED
        cut = model.model(input_ids=IDS).last_hidden_state
    after = model.model(input_ids=IDS).last_hidden_state
    handle.remove()
    assert widths == [6, 6, 2, 6]
    assert torch.equal(before, untouched)
    assert torch.equal(before, after)
    assert torch.allclose(before[ROWS, PICKED], cut[ROWS, PICKED], atol=1e-5)
    assert not torch.allclose(before[0, 2], cut[0, 2], atol=1e-3)


@torch.no_grad()
def test_where_parts_are_not_as_expected_nothing_is_left_out(model, monkeypatch):
    monkeypatch.setattr(model.config, "num_experts", 4, raising=False)
    before = model.model(input_ids=IDS).last_hidden_state
    last = LastLayer(model)
    with last.watched():
        last.picked = PICKED
        assert torch.equal(model.model(input_ids=IDS).last_hidden_state, before)
