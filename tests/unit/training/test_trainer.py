"""The trainer's loss is the plain one, whatever the batching, and its traps are closed."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig

from fin_qlora import FinSFTConfig, FinSFTTrainer, XBRLMultiTaskCollator, tasks
from fin_qlora.errors import DataError, TruncatedAnswerError, UsageError
from fin_qlora.models.base import load_model
from fin_qlora.prompts.contract import IGNORED

CONTRACT = tasks.get("tfns").contract()
TEXTS = ["Shares rose.", "Profit fell after a warning.", "x", "No change at all today", "up", "dn"]
ROWS = [(text, CONTRACT.labels[i % 3]) for i, text in enumerate(TEXTS * 4)]


@pytest.fixture
def make(small_base, tokenizer, tmp_path):
    def build(*, rows=ROWS, quantization="none", collator=None, dataset=None, **settings):
        examples = [CONTRACT.encode(tokenizer, text, label) for text, label in rows]
        data = dataset or Dataset.from_list(
            [{"input_ids": e.input_ids, "labels": e.labels} for e in examples]
        )
        defaults = {
            "output_dir": str(tmp_path),
            "max_steps": 4,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "disable_tqdm": True,
        }
        return FinSFTTrainer(
            model=load_model(small_base, quantization=quantization),
            args=FinSFTConfig(**(defaults | settings)),
            train_dataset=data,
            processing_class=tokenizer,
            data_collator=collator,
            peft_config=LoraConfig(
                r=4, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "v_proj"]
            ),
        )

    return build


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_the_loss_is_cross_entropy_over_the_answers(make):
    trainer = make()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
    trainer.model.eval()
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, dict(batch))
        logits = trainer.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits.float()
    plain = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
    )
    assert float(ours) == pytest.approx(float(plain), rel=1e-3)


def test_the_loss_is_the_one_that_trl_computes(make):
    from trl import SFTTrainer

    trainer = make()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(5)])
    with torch.no_grad():
        ours = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=7)
        theirs = SFTTrainer.compute_loss(trainer, trainer.model, dict(batch), num_items_in_batch=7)
    assert float(ours) == pytest.approx(float(theirs), rel=2e-2)
    mine, other = trainer._metrics["train"]["mean_token_accuracy"]
    assert mine == pytest.approx(other)


def test_accumulation_does_not_change_the_trajectory(make):
    order = {"train_sampling_strategy": "sequential", "shuffle_dataset": False}
    whole = make(per_device_train_batch_size=8, **order)
    parts = make(per_device_train_batch_size=2, gradient_accumulation_steps=4, **order)
    whole.train()
    parts.train()
    assert losses(parts) == pytest.approx(losses(whole), rel=2e-2)
    assert losses(whole)[-1] < losses(whole)[0]


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_a_quantised_base_goes_on_learning_after_evaluations(make, quantization):
    trainer = make(quantization=quantization, max_steps=6, eval_strategy="no")
    trainer.eval_dataset = trainer.train_dataset
    trainer.train()
    trainer.evaluate()
    norms = [e["grad_norm"] for e in trainer.state.log_history if "grad_norm" in e]
    assert min(norms) > 0
    trainer.model.train()
    batch = trainer.data_collator([trainer.train_dataset[0]])
    trainer.model.zero_grad()
    trainer.compute_loss(trainer.model, batch).backward()
    gradients = [p.grad for p in trainer.model.parameters() if p.requires_grad]
    assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_adapters_are_trained_in_the_precision_asked_for(make, dtype):
    trainer = make(quantization="4bit", adapter_dtype=dtype)
    trained = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
    assert trained == {getattr(torch, dtype)}


def test_a_row_over_the_limit_is_not_cut(make):
    with pytest.raises(TruncatedAnswerError, match="max_length=20"):
        make(max_length=20)


def test_a_row_without_an_answer_is_refused(make):
    nothing = Dataset.from_list([{"input_ids": [1, 2, 3], "labels": [IGNORED] * 3}])
    with pytest.raises(DataError, match="Row 1 has no trained token"):
        make(dataset=nothing)


def test_task_ids_reach_the_batch_and_not_the_model(make, tokenizer):
    rows = [
        {"task": "a" if i % 2 else "b", "input_ids": e.input_ids, "labels": e.labels}
        for i, e in enumerate(CONTRACT.encode(tokenizer, t, label) for t, label in ROWS)
    ]
    trainer = make(
        dataset=Dataset.from_list(rows),
        collator=XBRLMultiTaskCollator(tokenizer, tasks=("a", "b")),
        max_steps=2,
    )
    assert "task_ids" in next(iter(trainer.get_train_dataloader()))
    trainer.train()
    assert losses(trainer)[0] > 0


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(UsageError, match="float16"):
        FinSFTConfig(output_dir=str(tmp_path), adapter_dtype="float16")


def test_nothing_is_reported_and_no_accelerator_is_needed(tmp_path):
    config = FinSFTConfig(output_dir=str(tmp_path))
    assert config.report_to == []
    assert config.use_cpu or torch.accelerator.is_available()
    assert config.activation_checkpointing is False
