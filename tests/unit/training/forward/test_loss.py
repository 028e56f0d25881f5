"""The loss of a token, its sums over a log interval, and the weights of tasks."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset

from fin_qlora import XBRLMultiTaskCollator, tasks
from fin_qlora.errors import DataError, UsageError
from fin_qlora.prompts.contract import IGNORED
from fin_qlora.training.forward import loss as module
from fin_qlora.training.forward.loss import Tally, token_figures

CONTRACT = tasks.get("tfns").contract()
TEXTS = ["Shares rose.", "Profit fell after a warning.", "x", "No change at all today", "up", "dn"]
ROWS = [(text, CONTRACT.labels[i % 3]) for i, text in enumerate(TEXTS * 4)]


def several(tokenizer) -> dict:
    """Options for a trainer on rows of two tasks, one row in three of the second."""
    encoded = [CONTRACT.encode(tokenizer, text, label) for text, label in ROWS]
    rows = [
        {"task": "b" if i % 3 == 0 else "a", "input_ids": e.input_ids, "labels": e.labels}
        for i, e in enumerate(encoded)
    ]
    return {
        "dataset": Dataset.from_list(rows),
        "collator": XBRLMultiTaskCollator(tokenizer, tasks=("a", "b")),
    }


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_figures_are_those_of_torch(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    torch.manual_seed(0)
    logits = torch.randn(8, 11, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (8,))
    figures = token_figures(logits, targets)
    weights = torch.rand(8)
    (figures.losses * weights).sum().backward()
    other = logits.detach().clone().requires_grad_()
    plain = torch.nn.functional.cross_entropy(other, targets, reduction="none")
    (plain * weights).sum().backward()
    torch.testing.assert_close(figures.losses.double(), plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits.grad, other.grad, rtol=1e-5, atol=1e-6)
    spread = torch.distributions.Categorical(logits=other).entropy()
    torch.testing.assert_close(figures.entropies.double(), spread, rtol=1e-5, atol=1e-6)
    assert figures.correct.tolist() == (other.argmax(-1) == targets).float().tolist()
    assert not figures.entropies.requires_grad


def test_sums_are_over_the_interval_and_by_task():
    kept: dict = {}
    tally = Tally({"a": 0, "b": 1, "c": 2}, kept)
    accelerator = Accelerator(cpu=True)
    assert tally.figures(accelerator) == {}
    for scale in (1.0, 3.0):
        figures = module.TokenFigures(
            scale * torch.tensor([1.0, 2.0, 6.0]), torch.ones(3), torch.tensor([1.0, 0.0, 0.0])
        )
        tally.add(figures, tokens=torch.tensor(50), tasks=torch.tensor([0, 0, 1]))
    assert tally.take_tokens(accelerator) == 100
    assert tally.take_tokens(accelerator) == 0
    assert tally.figures(accelerator) == pytest.approx(
        {
            "entropy": 1.0,
            "mean_token_accuracy": 1 / 3,
            "loss/a": 3.0,
            "loss/b": 12.0,
        }
    )
    assert kept == {}, "a new interval has begun"


def test_the_loss_of_each_task_is_logged(make, tokenizer):
    trainer = make(**several(tokenizer), logging_steps=2, gradient_accumulation_steps=2)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 2
    for entry in logged:
        # two thirds of the tokens are of task a; every row has as many
        assert min(entry["loss/a"], entry["loss/b"]) <= entry["loss"]
        assert entry["loss"] <= max(entry["loss/a"], entry["loss/b"])
    trainer.eval_dataset = trainer.train_dataset
    measured = trainer.evaluate()
    trainer_logs = trainer.state.log_history[-1]
    mean = (2 * trainer_logs["eval_loss/a"] + trainer_logs["eval_loss/b"]) / 3
    assert mean == pytest.approx(measured["eval_loss"], rel=0.05)


def test_one_task_has_no_line_of_its_own(make):
    trainer = make(max_steps=1)
    trainer.train()
    assert not any(key.startswith("loss/") for entry in trainer.state.log_history for key in entry)


def test_tokens_weigh_as_their_task_does(make, tokenizer):
    options = several(tokenizer)
    weighted = make(**options, task_weights={"b": 4.0})
    equal = make(**options)
    rows = [equal.train_dataset[i] for i in range(6)]
    batch = equal.data_collator(rows)
    alone = {
        name: equal.data_collator([row for row in rows if row["task"] == name]) for name in "ab"
    }
    with torch.no_grad():
        parts = {
            name: float(equal.compute_loss(equal.model, part, num_items_in_batch=10))
            for name, part in alone.items()
        }
        ours = float(weighted.compute_loss(weighted.model, dict(batch), num_items_in_batch=10))
        weighted.model.eval()
        held_out = float(weighted.compute_loss(weighted.model, dict(batch), num_items_in_batch=10))
    assert ours == pytest.approx(parts["a"] + 4 * parts["b"], rel=1e-3)
    assert held_out == pytest.approx(parts["a"] + parts["b"], rel=1e-3), "plain when evaluated"
    weighted.model.train()
    weighted.label_smoother = object()
    with pytest.raises(UsageError, match="task_weights"):
        weighted.compute_loss(weighted.model, dict(batch))


@pytest.mark.parametrize("folded", [True, False])
def test_an_evaluation_of_a_batch_in_which_nothing_is_trained_is_refused(make, folded):
    trainer = make(share_prefix=folded)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(2)])
    batch["labels"][:] = IGNORED
    batch["labels"][:, 0] = 5  # nothing comes before it, so nothing predicts it
    trainer.model.eval()
    with pytest.raises(DataError, match="step 1, process 0"):
        trainer.compute_loss(trainer.model, batch)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("left", [True, False])
def test_in_training_it_adds_nothing_and_has_gradients(make, tokenizer, folded, left):
    trainer = make(**several(tokenizer), share_prefix=folded)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(3)])
    batch["labels"][:] = IGNORED
    if left:
        batch |= {name: value.flip(1) for name, value in batch.items() if value.ndim == 2}
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=torch.tensor(9))
    assert float(loss.detach()) == 0
    loss.backward()
    gradients = [p.grad for p in trainer.model.parameters() if p.requires_grad]
    assert all(gradient is not None and not gradient.any() for gradient in gradients)
    assert trainer.counters["figures"][0] == 0, "no prediction is counted"


def test_a_pass_may_have_no_answer_where_its_batch_has_one(make):
    trainer = make(per_device_train_batch_size=4, max_tokens_per_pass=1, max_steps=1)
    collate = trainer.data_collator

    def masked(rows):
        batch = collate(rows)
        batch["labels"][1:] = IGNORED
        return batch

    trainer.data_collator = masked
    trainer.train()
    assert trainer.state.global_step == 1


def test_tokens_read_after_the_last_log_are_counted(make):
    trainer = make(max_steps=3, logging_steps=2)
    read = []
    collate = trainer.data_collator

    def counted(rows):
        batch = collate(rows)
        read.append(int(batch["attention_mask"].sum()))
        return batch

    trainer.data_collator = counted
    trainer.train()
    # accelerate reads one batch ahead
    assert trainer.cost.seen_tokens == sum(read[:3]) == trainer._total_train_tokens


def trained_weights(trainer) -> torch.Tensor:
    trainer.train()
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])


def test_passes_do_not_change_what_is_trained(make):
    settings = {"per_device_train_batch_size": 6, "bf16": False, "max_steps": 3}
    trained = {
        limit: trained_weights(make(**settings, max_tokens_per_pass=limit))
        for limit in (None, 1, 100)
    }
    for limit in (1, 100):
        # rounding of the bfloat16 base differs with the shapes
        apart = float((trained[limit] - trained[None]).norm())
        assert apart < 0.02 * float(trained[None].norm()), limit


def test_each_pass_is_as_small_as_asked(make, monkeypatch):
    trainer = make(per_device_train_batch_size=6, max_tokens_per_pass=70, max_steps=1)
    seen = []
    plain = trainer._predictor.predict

    def predict(model, inputs):
        seen.append(int(inputs["attention_mask"].sum()))
        return plain(model, inputs)

    monkeypatch.setattr(trainer._predictor, "predict", predict)
    trainer.train()
    assert len(seen) > 1
    assert sum(seen) == trainer._total_train_tokens


def test_passes_need_at_least_a_token(make):
    with pytest.raises(UsageError, match="max_tokens_per_pass is 0"):
        make(max_tokens_per_pass=0)
