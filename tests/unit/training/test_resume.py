"""A resumed run is the whole one, bit for bit; and a checkpoint of another run is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from fin_qlora.errors import CheckpointMismatchError
from fin_qlora.training.running.saving import NOTE

from .conftest import ROWS

#: 24 rows in batches of 4: six steps an epoch.
RUN = {
    "max_steps": 15,
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 20,
    "learning_rate": 2e-3,
}
DROPOUT = {"lora_dropout": 0.1}


def trained(trainer) -> dict:
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}


def logged(trainer) -> list[dict]:
    return [
        {name: value for name, value in entry.items() if name not in ("epoch",)}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"train_sampling_strategy": "random"},
        {"train_sampling_strategy": "sequential", "logging_steps": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
        {"adapter_dtype": "bfloat16", "lr_scheduler_type": "cosine", "warmup_steps": 3},
    ],
    ids=["default", "random", "sums", "accumulated", "bfloat16"],
)
def test_every_step_of_a_resumed_run_is_that_of_the_whole_one(make, tmp_path, settings):
    whole = make(lora=DROPOUT, output_dir=str(tmp_path / "run"), **(RUN | settings))
    whole.train()
    # in an epoch, at its end, and in the second one
    for step in (2, 6, 9):
        again = make(lora=DROPOUT, output_dir=str(tmp_path / f"from-{step}"), **(RUN | settings))
        again.train(resume_from_checkpoint=str(tmp_path / "run" / f"checkpoint-{step}"))
        assert logged(again) == logged(whole), step
        for name, weight in trained(whole).items():
            assert weight.equal(trained(again)[name]), (step, name)


def test_the_checkpoint_holds_the_weights_as_they_are_trained(make, tmp_path):
    trainer = make(**RUN)
    trainer.train()
    stored = load_file(tmp_path / "checkpoint-15" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32}
    rounded = {name: tensor.bfloat16().float() for name, tensor in stored.items()}
    assert any(not stored[name].equal(rounded[name]) for name in stored)
    kept = trained(trainer)
    assert all(any(tensor.equal(one) for one in kept.values()) for tensor in stored.values())


def test_another_program_state_does_not_change_a_resumed_run(make, tmp_path):
    """What else draws random numbers before the first step, such as an evaluation, is no matter."""
    whole = make(lora=DROPOUT, **RUN)
    whole.train()
    again = make(lora=DROPOUT, **(RUN | {"output_dir": str(tmp_path / "again")}))
    torch.rand(1000)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert logged(again) == logged(whole)


def test_counters_of_a_trainer_go_on(make, tmp_path):
    class Count(TrainerCallback):
        def __init__(self, trainer):
            self.trainer = trainer

        def on_step_begin(self, args, state, control, **_):
            counters = self.trainer.counters
            counters["sum"] = counters.get("sum", torch.zeros(2)) + torch.tensor([1.0, 0.5])

    def run(start=None):
        trainer = make(**RUN)
        trainer.add_callback(Count(trainer))
        trainer.train(resume_from_checkpoint=start)
        return trainer.counters["sum"].tolist()

    assert run() == [15.0, 7.5]
    assert run(str(tmp_path / "checkpoint-10")) == [15.0, 7.5]


def test_the_same_global_batch_may_be_cut_in_another_way(make, tmp_path):
    whole = make(**RUN)
    whole.train()
    cut = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    again = make(**(RUN | cut | {"output_dir": str(tmp_path / "again")}))
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    for one, other in zip(logged(again), logged(whole), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


OTHERS = {
    "rows": ({"rows": [*ROWS[1:], ROWS[0]]}, "training rows are not those"),
    "batch": (
        {"gradient_accumulation_steps": 2},
        r"global batch of .* is 4 rows \(4 x 1 processes x 1 accumulated\); this run's is 8 rows",
    ),
    "seed": ({"seed": 7}, "seed of .* is 42, this run's is 7"),
    "rank": ({"lora": {"r": 8}}, "has r=4, this run r=8"),
    "modules": ({"lora": {"target_modules": ["q_proj"]}}, "target_modules="),
    "optimizer": ({"optim": "sgd"}, r"has optim=adamw_torch\w*, this run optim=sgd"),
    "rate": ({"learning_rate": 1e-5}, "has learning_rate=0.002, this run learning_rate=1e-05"),
    "order": ({"train_sampling_strategy": "sequential"}, "drawn with train_sampling_strategy="),
}


@pytest.mark.parametrize(("change", "sentence"), OTHERS.values(), ids=OTHERS)
def test_a_checkpoint_of_another_run_is_refused(make, tmp_path, change, sentence):
    settings = RUN | {"max_steps": 2}
    make(**settings).train()
    other = make(**(settings | {"max_steps": 3} | change))
    before = trained(other)
    with pytest.raises(CheckpointMismatchError, match=sentence):
        other.train(resume_from_checkpoint=True)
    assert all(weight.equal(before[name]) for name, weight in trained(other).items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]


def test_a_run_that_pads_draws_rows_in_another_order(make, tmp_path):
    """Whether batches are folded decides it, which settings alone do not tell."""
    settings = RUN | {"max_steps": 2, "train_sampling_strategy": "group_by_length"}
    make(**settings).train()
    other = make(**(settings | {"max_steps": 3}))
    other._predictor.folds = not other._predictor.folds
    with pytest.raises(CheckpointMismatchError, match="drawn with order=mixed, now it is grouped"):
        other.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("what", ["the base", "the prompt contract of tfns"])
def test_another_base_or_contract_is_refused(make, tmp_path, what):
    first = make(**RUN)
    first.origin = {"the base": "aaa", "the prompt contract of tfns": "bbb"}
    first.train()
    other = make(**(RUN | {"max_steps": 16}))
    other.origin = first.origin | {what: "ccc"}
    with pytest.raises(CheckpointMismatchError, match=f"{what[1:]} has changed since .*: "):
        other.train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("optimizer", "sentence"),
    [
        ({"optim": "zero_one_adam"}, "0/1 Adam keeps a part of its state on each"),
        ({"deepspeed_zero_stage": 2}, "ZeRO stage 2 keeps a part of its state on each"),
    ],
)
def test_what_is_kept_on_each_process_fits_only_as_many(make, tmp_path, optimizer, sentence):
    from fin_qlora.training.running.identity import require_same_run

    make(**(RUN | {"max_steps": 1})).train()
    note = json.loads((tmp_path / "checkpoint-1" / NOTE).read_text("utf-8"))["identity"]
    kept = note | {"optimizer": note["optimizer"] | optimizer}
    now = kept | {"batch": {"whole": 4, "micro": 2, "processes": 2, "accumulation": 1}}
    with pytest.raises(CheckpointMismatchError, match=f"of 1 processes, .* 2: {sentence}"):
        require_same_run(kept, now, folder=Path("c"))
    require_same_run(note, note | {"batch": now["batch"]}, folder=Path("c"))
