"""A training that leads nowhere ends at its step, in one sentence, with its checkpoints intact."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from fin_qlora.errors import DataError, DivergedError, MemoryShortError, UntrainedAdapterError
from fin_qlora.training.running import faults
from fin_qlora.training.running.faults import StepWatch, smaller_batch

EVERY_STEP = {"save_strategy": "steps", "save_steps": 1}


class At(TrainerCallback):
    """Does something to the model at the beginning of a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step_begin(self, args, state, control, model=None, **_):
        if state.global_step + 1 == self.step:
            self.act(model)


def spoil(model) -> None:
    """Put something that is no number where a base may have it, in one layer."""
    next(p for n, p in model.named_parameters() if "mlp" in n).data[0, 0] = float("nan")


def weights(folder) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_a_loss_that_is_no_number_is_named_with_its_step(make, tmp_path):
    trainer = make(**EVERY_STEP)
    trainer.add_callback(At(3, spoil))
    with pytest.raises(DivergedError, match=r"The loss of step 3 is nan\. The gradient's norm was"):
        trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    assert trainer.state.global_step == 2
    for name, parameter in trainer.model.named_parameters():
        assert not parameter.requires_grad or parameter.isfinite().all(), name


def test_at_the_first_step_the_base_is_suspected(make):
    trainer = make()
    trainer.add_callback(At(1, spoil))
    with pytest.raises(DivergedError, match="first step: the base or a row is not sound"):
        trainer.train()


def test_a_learning_rate_that_blows_up_is_named(make):
    trainer = make(learning_rate=1e18, max_grad_norm=0.0, max_steps=20)
    with pytest.raises(DivergedError, match=r"of step \d+ .*learning rate of .* is too high") as e:
        trainer.train()
    assert "Lower learning_rate" in e.value.fix


def test_a_gradient_that_is_no_number_while_the_loss_is_one(make):
    def hook(model):
        parameter = next(p for n, p in model.named_parameters() if "lora_B" in n)
        parameter.register_hook(lambda gradient: gradient * float("inf"))

    trainer = make()
    trainer.add_callback(At(2, hook))
    with pytest.raises(DivergedError, match="The gradient of step 2 has no finite norm"):
        trainer.train()


def test_a_steep_gradient_ends_the_run_only_where_that_was_asked_for(make):
    make(max_steps=1).train()
    with pytest.raises(DivergedError, match=r"step 1 has a norm above abort_grad_norm=0\.001"):
        make(max_steps=1, abort_grad_norm=1e-3).train()


@pytest.mark.parametrize(("norm", "ends"), [("inf", False), ("nan", False), ("7.0", True)])
def test_what_a_scaler_skips_is_no_steep_gradient(norm, ends):
    args = SimpleNamespace(fp16=True, abort_grad_norm=5.0, learning_rate=1e-4)
    trainer = SimpleNamespace(
        args=args,
        _tr_loss=torch.tensor(1.0),
        state=SimpleNamespace(global_step=0),
        _get_learning_rate=lambda: 1e-4,
    )
    said = pytest.raises(DivergedError, match="norm above abort_grad_norm=5")
    with said if ends else contextlib.nullcontext():
        StepWatch(trainer).check(torch.tensor(float(norm)))


@pytest.mark.parametrize("loss_type", ["nll", "dft"])
def test_a_batch_without_an_answer_ends_the_run(make, loss_type):
    trainer = make(loss_type=loss_type)
    collate = trainer.data_collator

    def masked(rows):
        batch = collate(rows)
        if trainer.state.global_step == 1:
            batch["labels"].fill_(-100)
        return batch

    trainer.data_collator = masked
    with pytest.raises(DataError, match="trained"):
        trainer.train()
    assert trainer.state.global_step <= 2


@pytest.mark.parametrize("settings", [{"max_steps": 1, "warmup_steps": 1}, {"learning_rate": 0.0}])
def test_an_adapter_that_did_not_change_is_not_written(make, tmp_path, settings):
    with pytest.raises(UntrainedAdapterError, match="no trained weight has changed") as caught:
        make(**(EVERY_STEP | {"save_steps": 100} | settings)).train()
    assert "learning_rate is" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_that_does_not_learn_is_found_early(make, monkeypatch):
    monkeypatch.setattr(faults, "ENOUGH_STEPS", 3)

    def freeze(model):
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.register_hook(torch.zeros_like)

    trainer = make(max_steps=10, weight_decay=0.1)
    trainer.add_callback(At(1, freeze))
    with pytest.raises(UntrainedAdapterError, match="After step 3"):
        trainer.train()


def test_one_more_step_of_a_trained_adapter_may_change_nothing(make, tmp_path):
    """Where the learning rate ends in nothing, the last step of a resumed run is no fault."""
    make(**EVERY_STEP, max_steps=3).train()
    trainer = make(max_steps=4)
    trainer.add_callback(
        At(
            4,
            lambda model: [
                p.register_hook(torch.zeros_like) for p in model.parameters() if p.requires_grad
            ],
        )
    )
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


SHORT = """
import resource, sys
from pathlib import Path
import psutil, torch
sys.path.insert(0, sys.argv[3])
from datasets import Dataset
from peft import LoraConfig
from fin_qlora import FinSFTConfig, FinSFTTrainer
from fin_qlora.exits import run_guarded
from fin_qlora.models.base import load_model, load_tokenizer

base = Path(sys.argv[1])
rows = [{"input_ids": list(range(10, 410)), "labels": [-100] * 10 + list(range(20, 410))}] * 16
trainer = FinSFTTrainer(
    model=load_model(base, quantization="none"),
    args=FinSFTConfig(
        output_dir=sys.argv[2], max_steps=2, per_device_train_batch_size=16, disable_tqdm=True,
        max_tokens_per_pass=16 * 400,
    ),
    train_dataset=Dataset.from_list(rows),
    processing_class=load_tokenizer(base),
    peft_config=LoraConfig(r=4, target_modules=["q_proj"]),
)
room = psutil.Process().memory_info().vms + 150 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, room))
sys.exit(run_guarded(lambda: trainer.train() and None))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_too_large_a_batch_is_said_with_one_that_fits(small_base, tmp_path):
    """A real allocation fails: the process may not have more memory."""
    program = tmp_path / "short.py"
    program.write_text(SHORT, "utf-8")
    done = subprocess.run(
        [sys.executable, str(program), str(small_base), str(tmp_path / "out"), "."],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("fin-qlora: ")]
    assert "Step 1 does not fit into the memory of process 0: 16 rows of 400 tokens" in sentence
    assert "per_device_train_batch_size to 8 and gradient_accumulation_steps to 2" in sentence
    assert "the same global batch of 16 rows" in sentence
    assert done.returncode == 4


def test_a_gpu_that_is_full_is_said_too(make):
    def full(_model):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    trainer = make()
    trainer.add_callback(At(1, full))
    with pytest.raises(MemoryShortError, match="Step 1 does not fit"):
        trainer.train()


@pytest.mark.parametrize(
    ("rows", "tokens", "accumulation", "limit", "recomputed", "expected"),
    [
        (8, 100, 2, None, False, "size to 4 and gradient_accumulation_steps to 4: .* of 32 rows"),
        (6, 100, 1, None, False, "size to 3 and gradient_accumulation_steps to 2: .* of 12 rows"),
        (5, 100, 1, None, False, "size to 1 and gradient_accumulation_steps to 5: .* of 10 rows"),
        (8, 100, 1, 4096, False, "size to 4 and gradient_accumulation_steps to 2"),
        (8, 1000, 1, 4096, False, "max_tokens_per_pass to 2048"),
        (8, 3000, 1, 4096, False, "max_tokens_per_pass to 3000"),
        (8, 5000, 1, 4096, False, "activation_checkpointing to true"),
        (1, 100, 4, None, False, "activation_checkpointing to true"),
        (1, 100, 4, None, True, "4 bits or shorten the rows"),
    ],
)
def test_the_batch_that_is_offered(rows, tokens, accumulation, limit, recomputed, expected):
    import re

    said = smaller_batch(
        rows,
        tokens,
        accumulation=accumulation,
        processes=2,
        limit=limit,
        recomputed=recomputed,
    )
    assert re.search(expected, said), said
