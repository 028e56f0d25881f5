"""Every kind of adapter on every base: trained, stored, and loaded as what was evaluated."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from fin_qlora.errors import AdapterMismatchError
from fin_qlora.models.base import load_model
from fin_qlora.models.lora import WEIGHTS, in_stored_precision, save_weights
from fin_qlora.models.stored_lora import attach

KINDS = {
    "LoRA": {},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "DoRA, rank-stabilised": {"use_dora": True, "use_rslora": True},
}


def ids_of(tokenizer) -> torch.Tensor:
    return torch.tensor([tokenizer("Shares rose after the report of the bank.")["input_ids"]])


def trained(base, tokenizer, *, quantization, steps=4, rate=1e-3, **options):
    """A model whose adapter was really trained for a few steps, as float32 under autocast."""
    torch.manual_seed(0)
    model = get_peft_model(
        load_model(base, quantization=quantization),
        LoraConfig(
            r=3,
            lora_alpha=32,
            target_modules=["q_proj", "k_proj", "v_proj", "down_proj"],
            task_type="CAUSAL_LM",
            **options,
        ),
    ).train()
    weights = [p for p in model.parameters() if p.requires_grad]
    for weight in weights:
        weight.data = weight.data.float()
    optimizer = torch.optim.AdamW(weights, lr=rate)
    ids = ids_of(tokenizer)
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def logits(model, ids) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits


@pytest.mark.parametrize("quantization", ["4bit", "8bit", "none"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stored_answers_as_what_was_evaluated(
    small_base, tokenizer, tmp_path, quantization, kind
):
    model = trained(small_base, tokenizer, quantization=quantization, **KINDS[kind])
    in_stored_precision(model)
    ids = ids_of(tokenizer)
    evaluated = logits(model, ids)
    with model.disable_adapter():
        assert not torch.equal(logits(model, ids), evaluated)
    save_weights(model, tmp_path)
    again = attach(load_model(small_base, quantization=quantization), tmp_path, name="default")
    assert not again.training
    assert torch.equal(logits(again, ids), evaluated)


def test_magnitudes_are_stored_as_they_were_trained(small_base, tokenizer, tmp_path):
    model = trained(small_base, tokenizer, quantization="none", use_dora=True)
    magnitudes = {
        name.replace(".default.weight", ""): parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if "magnitude" in name
    }
    in_stored_precision(model)
    save_weights(model, tmp_path)
    stored = load_file(tmp_path / WEIGHTS)
    assert magnitudes
    for name, magnitude in magnitudes.items():
        assert torch.equal(stored[name], magnitude)
        # bfloat16 would have moved them
        assert not torch.equal(magnitude.bfloat16().float(), magnitude)
    others = {t.dtype for name, t in stored.items() if "magnitude" not in name}
    assert others == {torch.bfloat16}


def test_training_moves_magnitudes_by_less_than_bfloat16_can_tell(small_base, tokenizer):
    before, after = (
        trained(small_base, tokenizer, quantization="none", use_dora=True, steps=steps, rate=1e-4)
        for steps in (0, 1)
    )
    old, new = (
        torch.cat([p.detach() for n, p in model.named_parameters() if "magnitude" in n])
        for model in (before, after)
    )
    moved = (new != old).float().mean()
    kept = (new.bfloat16() != old.bfloat16()).float().mean()
    assert moved > 0.9
    assert kept < moved / 2


def test_an_adapter_that_was_not_trained_is_refused(small_base, tokenizer, tmp_path):
    model = trained(small_base, tokenizer, quantization="none", steps=0)
    save_weights(model, tmp_path)
    with pytest.raises(AdapterMismatchError, match="changes nothing"):
        attach(load_model(small_base, quantization="none"), tmp_path, name="default")
