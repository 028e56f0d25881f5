"""However a batch is laid out and cut up, over passes, steps or processes, it is one training."""

from __future__ import annotations

import json

import pytest
import torch

PROGRAM = """
import json, sys
import torch
from datasets import Dataset
from peft import LoraConfig
from fin_qlora import FinSFTConfig, FinSFTTrainer, tasks
from fin_qlora.models.base import load_model, load_tokenizer
from pathlib import Path

folder, base, batch, accumulation, *options = sys.argv[1:]
torch.set_num_threads(1)
tokenizer = load_tokenizer(Path(base))
contract = tasks.get("tfns").contract()
texts = ["Shares rose.", "Profit fell after a warning that was long.", "x", "No change today", "up"]
examples = [contract.encode(tokenizer, texts[i % 5], contract.labels[i % 3]) for i in range(33)]
model = load_model(Path(base), quantization="4bit")
for module in model.modules():
    if hasattr(module, "compute_dtype"):
        module.compute_dtype = torch.float32  # so that curves differ by float32's rounding only
for parameter in model.parameters():
    if parameter.is_floating_point():
        parameter.data = parameter.data.float()
trainer = FinSFTTrainer(
    model=model,
    args=FinSFTConfig(
        output_dir=folder, use_cpu=True, optim="adamw_torch", learning_rate=2e-2, max_steps=10,
        per_device_train_batch_size=int(batch), gradient_accumulation_steps=int(accumulation),
        bf16=False, logging_steps=1, disable_tqdm=True,
        adapter_dtype="float32", max_grad_norm=1.0,
        **dict(json.loads(option) for option in options),
    ),
    train_dataset=Dataset.from_list(
        [{"input_ids": e.input_ids, "labels": e.labels} for e in examples]
    ),
    processing_class=tokenizer,
    peft_config=LoraConfig(
        r=4, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "k_proj", "v_proj"]
    ),
)
trainer.train()
weights = {n: p.detach() for n, p in trainer.model.named_parameters() if p.requires_grad}
rank = trainer.accelerator.process_index
torch.save(weights, f"{folder}/weights-{rank}.pt")
curve = [
    [entry["loss"], entry["grad_norm"]] for entry in trainer.state.log_history if "loss" in entry
]
Path(f"{folder}/curve-{rank}.json").write_text(json.dumps(curve))
trainer.accelerator.end_training()
"""


# padded, rows of like length would share a batch
PADDED = ('["share_prefix", false]', '["train_sampling_strategy", "random"]')
PASSES = '["max_tokens_per_pass", 70]'


def curve(folder):
    return json.loads((folder / "curve-0.json").read_text("utf-8"))


@pytest.fixture
def runs(launch, small_base):
    return {
        "whole": launch(PROGRAM, small_base, 8, 1, profile="single"),
        "accumulated": launch(PROGRAM, small_base, 2, 4, profile="single"),
        "two processes": launch(PROGRAM, small_base, 4, 1, profile="cpu-ddp-2"),
        "two processes, accumulated": launch(PROGRAM, small_base, 1, 4, profile="cpu-ddp-2"),
        "padded": launch(PROGRAM, small_base, 8, 1, *PADDED, profile="single"),
        "two processes, padded": launch(PROGRAM, small_base, 2, 2, *PADDED, profile="cpu-ddp-2"),
        "in passes": launch(PROGRAM, small_base, 8, 1, PASSES, profile="single"),
        "two processes, in passes": launch(PROGRAM, small_base, 4, 1, PASSES, profile="cpu-ddp-2"),
    }


def test_one_loss_curve(runs):
    whole = curve(runs["whole"])
    # two epochs of 33 rows: four steps of 8, and a row that two processes cannot share
    assert len(whole) == 10
    assert whole[-2][0] < 0.95 * whole[0][0], "it learns, so that equal curves mean something"
    for name, folder in runs.items():
        for step, (ours, theirs) in enumerate(zip(curve(folder), whole, strict=True)):
            assert ours[0] == pytest.approx(theirs[0], rel=1e-4), (name, step)
            # AdamW forgives gradients of another scale; their norm does not
            assert ours[1] == pytest.approx(theirs[1], rel=2e-3), (name, step)

    first, second = (torch.load(runs["two processes"] / f"weights-{rank}.pt") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(first[key].equal(second[key]) for key in first)
    alone = torch.load(runs["whole"] / "weights-0.pt")
    moved = sum(float(weight.norm()) for key, weight in alone.items() if "lora_B" in key)
    apart = sum(float((alone[key] - first[key]).norm()) for key in alone if "lora_B" in key)
    assert apart < 0.02 * moved
