"""The trainer's loss is the plain one, whatever the batching, and its traps are closed."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig

from fin_qlora import FinSFTConfig, FinSFTTrainer, XBRLMultiTaskCollator, tasks
from fin_qlora.errors import DataError, TruncatedAnswerError, UnknownNameError, UsageError
from fin_qlora.models.base import load_model
from fin_qlora.prompts.contract import IGNORED

CONTRACT = tasks.get("tfns").contract()
TEXTS = ["Shares rose.", "Profit fell after a warning.", "x", "No change at all today", "up", "dn"]
ROWS = [(text, CONTRACT.labels[i % 3]) for i, text in enumerate(TEXTS * 4)]


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
    logged: dict[str, float] = {}
    theirs_logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    trainer.log(logged)
    assert logged["mean_token_accuracy"] == pytest.approx(theirs_logged["mean_token_accuracy"])
    assert logged["num_tokens"] == 2 * theirs_logged["num_tokens"], "both have seen the batch"
    assert logged["entropy"] == pytest.approx(theirs_logged["entropy"], rel=1e-2)


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


def adapter_types(trainer) -> set[torch.dtype]:
    return {p.dtype for p in trainer.model.parameters() if p.requires_grad}


def test_a_resumed_run_keeps_the_precision_of_its_adapter(make):
    settings = {"adapter_dtype": "bfloat16", "quantization": "4bit", "save_strategy": "steps"}
    make(max_steps=2, save_steps=2, **settings).train()
    resumed = make(max_steps=3, save_steps=3, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 3
    assert adapter_types(resumed) == {torch.bfloat16}


def test_label_smoothing_is_followed(make):
    with pytest.warns(FutureWarning, match="label_smoothing"):
        smooth = make(label_smoothing_factor=0.5)
    batch = smooth.data_collator([smooth.train_dataset[0]])
    smooth.model.eval()
    with torch.no_grad():
        smoothed = smooth.compute_loss(smooth.model, dict(batch))
        smooth.label_smoother = None
        plain = smooth.compute_loss(smooth.model, dict(batch))
    assert float(smoothed) != pytest.approx(float(plain), rel=1e-3)


def test_a_loss_function_of_the_users_own_is_called(make):
    calls = []

    def loss(outputs, labels, num_items_in_batch=None):
        calls.append(labels.shape)
        return outputs.logits.float().mean() * 0

    with pytest.warns(FutureWarning, match="compute_loss_func"):
        trainer = make(options={"compute_loss_func": loss})
    batch = trainer.data_collator([trainer.train_dataset[0]])
    with torch.no_grad():
        assert float(trainer.compute_loss(trainer.model, dict(batch))) == 0
    assert len(calls) == 1


@pytest.fixture
def bare(small_base, tokenizer):
    """A trainer whose configuration and adapter the test chooses."""

    def build(**options):
        rows = [{"text": "Shares rose."}] * 4
        return FinSFTTrainer(
            model=load_model(small_base, quantization="none"),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            **options,
        )

    return build


def test_without_arguments_the_defaults_hold(bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = bare(peft_config=LoraConfig(target_modules=["q_proj"]))
    assert isinstance(trainer.args, FinSFTConfig)
    assert trainer.args.adapter_dtype == "float32"


def test_a_plain_sft_config_keeps_its_values(bare, tmp_path):
    with pytest.warns(FutureWarning, match="gradient_checkpointing"):  # its own default
        given = SFTConfig(
            output_dir=str(tmp_path), use_cpu=True, max_steps=1, learning_rate=3e-5, logging_steps=7
        )
    trainer = bare(args=given, peft_config=LoraConfig(target_modules=["q_proj"]))
    assert isinstance(trainer.args, FinSFTConfig)
    assert (trainer.args.learning_rate, trainer.args.logging_steps) == (3e-5, 7)
    assert trainer.args.activation_checkpointing is True
    trainer.train()


def test_arguments_that_are_none_are_refused(bare):
    with pytest.raises(UsageError, match="args is a dict"):
        bare(args={"learning_rate": 1})


def test_a_base_without_an_adapter_keeps_its_precision(bare, tmp_path):
    trainer = bare(args=FinSFTConfig(output_dir=str(tmp_path)))
    assert {p.dtype for p in trainer.model.parameters()} == {torch.bfloat16}


def test_several_visible_gpus_are_no_data_parallel(tmp_path, monkeypatch):
    from transformers import TrainingArguments

    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda _: 4))
    assert FinSFTConfig(output_dir=str(tmp_path))._n_gpu == 1


def test_a_deepspeed_configuration_is_found_by_its_name(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'adamw_zero1_bf16'"):
        FinSFTConfig(output_dir=str(tmp_path), deepspeed="adamw_zero1_bf")


def test_no_card_is_made_of_a_checkpoint(make, tmp_path):
    make(max_steps=1, save_strategy="steps", save_steps=1).train()
    assert (tmp_path / "checkpoint-1" / "trainer_state.json").is_file()
    assert not (tmp_path / "README.md").exists()
