"""Rows are dealt out only where the processes can work apart."""

from __future__ import annotations

from fin_qlora.evaluation import shared
from fin_qlora.evaluation.shared import shared_out
from fin_qlora.tasks import get

ROWS = [{"text": f"{'very ' * (n % 5)}{n}"} for n in range(11)]


def ask(model, tokenizer, contract, inputs, *, batch_size=32, progress=None):
    model.append([row["text"] for row in inputs])
    return [row["text"] for row in inputs]


def launched(monkeypatch, *, zero3):
    """Let this process pass for the first of two; what the other would send is nothing."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("transformers.integrations.is_deepspeed_zero3_enabled", lambda: zero3)
    monkeypatch.setattr(
        shared.torch.distributed,
        "all_gather_object",
        lambda everyone, mine: everyone.__setitem__(
            slice(None), [mine, [(n, None) for n in range(11) if n not in dict(mine)]]
        ),
    )


def test_one_process_asks_everything(tokenizer):
    seen = []
    assert len(shared_out(ask)(seen, tokenizer, get("tfns").contract(), ROWS)) == 11
    assert len(seen[0]) == 11


def test_two_processes_ask_a_part_each(tokenizer, monkeypatch):
    launched(monkeypatch, zero3=False)
    seen = []
    found = shared_out(ask)(seen, tokenizer, get("tfns").contract(), ROWS, batch_size=3)
    assert len(seen[0]) == 6
    assert [one for one in found if one] == [row["text"] for row in ROWS if row["text"] in seen[0]]


def test_where_the_weights_are_shared_out_every_process_asks_everything(tokenizer, monkeypatch):
    launched(monkeypatch, zero3=True)
    seen = []
    found = shared_out(ask)(seen, tokenizer, get("tfns").contract(), ROWS, batch_size=3)
    assert found == seen[0] == [row["text"] for row in ROWS]
