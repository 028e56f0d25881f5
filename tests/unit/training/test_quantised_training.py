"""A quantised base goes on learning through evaluations, generation and resumed checkpoints."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig

from fin_qlora import FinSFTConfig, FinSFTTrainer, tasks
from fin_qlora.models.base import load_model
from fin_qlora.models.tiny import tiny_base_path

CONTRACT = tasks.get("tfns").contract()
TEXTS = ["Shares rose.", "Profit fell after a warning.", "No change at all today"]


@pytest.fixture
def make(tokenizer, tmp_path):
    examples = [
        CONTRACT.encode(tokenizer, text, label)
        for text, label in zip(TEXTS, CONTRACT.labels, strict=True)
    ] * 4
    rows = Dataset.from_list([{"input_ids": e.input_ids, "labels": e.labels} for e in examples])

    def build(quantization, **lora):
        return FinSFTTrainer(
            model=load_model(tiny_base_path(), quantization=quantization),
            args=FinSFTConfig(
                output_dir=str(tmp_path),
                max_steps=2,
                save_strategy="steps",
                save_steps=1,
                per_device_train_batch_size=3,
                learning_rate=1e-3,
                disable_tqdm=True,
            ),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=4, lora_dropout=0.0, target_modules=["q_proj", "v_proj"], **lora
            ),
        )

    return build


def gradient(trainer) -> float:
    trainer.model.zero_grad()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(3)])
    trainer.training_step(trainer.model.train(), batch)
    return sum(float(p.grad.abs().sum()) for p in trainer.model.parameters() if p.requires_grad)


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_after_a_checkpoint_was_loaded_and_after_an_evaluation(make, quantization):
    first = make(quantization)
    first.train()
    expected = gradient(first)
    again = make(quantization)
    again.train(resume_from_checkpoint=str(again.args.output_dir) + "/checkpoint-1")
    again.evaluate()
    with torch.no_grad():
        again.model.eval().generate(
            input_ids=torch.tensor([[5, 6, 7]]), max_new_tokens=2, pad_token_id=0
        )
    assert expected > 0
    assert gradient(again) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("quantization", ["4bit", "8bit", "none"])
@pytest.mark.parametrize("lora", [{"use_dora": True}, {"use_rslora": True}], ids=["DoRA", "rsLoRA"])
def test_other_kinds_of_adapters_learn(make, quantization, lora):
    trainer = make(quantization, **lora)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    assert all(not torch.equal(after[name], old) for name, old in before.items())
    assert {p.dtype for p in after.values() if p.requires_grad} == {torch.float32}
