"""Folded batches on a CUDA device: loss and gradients are those of padded ones.

python -m pytest -c /dev/null --noconftest tests/unit/training/test_on_a_gpu.py
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from random_base import random_base

from fin_qlora.models.architecture import llama_31
from fin_qlora.prompts.contract import IGNORED
from fin_qlora.training.forward import attention
from fin_qlora.training.forward.loss import token_figures
from fin_qlora.training.forward.predictions import Predictor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="it needs a CUDA device")
DEVICE = torch.device("cuda")
VOCABULARY = 1000


def model_of(quantization: str):
    config = llama_31(
        "8b", vocab_size=VOCABULARY, hidden_size=512, intermediate_size=1024, num_hidden_layers=3,
        num_attention_heads=16, head_dim=64, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = random_base(config, quantization=quantization, device=DEVICE, seed=0)
    adapter = LoraConfig(
        r=4, target_modules=["q_proj", "k_proj", "v_proj"], task_type="CAUSAL_LM",
        init_lora_weights=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = get_peft_model(model, adapter)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model.train()


def batch() -> dict[str, torch.Tensor]:
    drawn = random.Random(0)
    stem = [drawn.randrange(8, VOCABULARY) for _ in range(32)]
    rows = [
        stem + [drawn.randrange(8, VOCABULARY) for _ in range(length)]
        for length in (20, 33, 41, 64, 90, 700)
    ]
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        labels[number, len(row) - 3 : len(row)] = torch.tensor(row[-3:])
        mask[number, : len(row)] = 1
    found = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    return {name: value.to(DEVICE) for name, value in found.items()}


def trained(model, *, share_prefix: bool) -> tuple[float, torch.Tensor]:
    """Return the loss, and all gradients as one."""
    model.zero_grad(set_to_none=True)
    model.get_base_model().set_attn_implementation("sdpa")
    predictor = Predictor(model, share_prefix=share_prefix)
    assert predictor.folds is share_prefix
    with torch.autocast("cuda", torch.bfloat16):
        predicted = predictor.predict(model, batch())
        loss = token_figures(predicted.logits, predicted.targets).losses.mean()
    loss.backward()
    gradients = [p.grad.float().flatten() for p in model.parameters() if p.requires_grad]
    return loss.item(), torch.cat(gradients)


@pytest.mark.parametrize("unequal", [True, False])
@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
def test_a_folded_batch_is_the_padded_one(quantization, unequal, monkeypatch):
    assert attention._flash(DEVICE, torch.bfloat16)
    monkeypatch.setattr(attention, "_flash", lambda *_: unequal)
    model = model_of(quantization)
    loss, gradients = trained(model, share_prefix=True)
    wanted, expected = trained(model, share_prefix=False)
    again, _ = trained(model, share_prefix=True)
    off = float((gradients - expected).norm() / expected.norm())
    print(
        f"{quantization} {unequal}: loss {loss:.5f}, padded {wanted:.5f}, gradients off {off:.2e}"
    )
    assert expected.norm() > 0
    assert loss == pytest.approx(wanted, rel=2e-3)
    assert again == pytest.approx(loss, rel=1e-3)
    assert off < 3e-2
