"""kill -9 in the middle of a step and of a save: what is resumed has the losses of a whole run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
"""Train a few steps; kill one process with SIGKILL at a named place."""
import json, os, signal, sys
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback

from fin_qlora import FinSFTConfig, FinSFTTrainer
from fin_qlora.exits import run_guarded
from fin_qlora.models.base import load_model, load_tokenizer
from fin_qlora.training.running.checkpoints import resume_point, train

base, out, told, place, at, deepspeed = sys.argv[1:]
RANK = int(os.environ.get("RANK", "0"))
LAST = int(os.environ.get("WORLD_SIZE", "1")) - 1


def die_here(where, step):
    if where == place and step == int(at) and RANK == LAST:
        os.kill(os.getpid(), signal.SIGKILL)


class Trainer(FinSFTTrainer):
    def _save_rng_state(self, folder):
        die_here("save", self.state.global_step)
        super()._save_rng_state(folder)


class Watch(TrainerCallback):
    def on_step_begin(self, args, state, control, model=None, **_):
        die_here("step", state.global_step)
        if place == "nan" and state.global_step == int(at) and RANK == LAST:
            weight = next(p for n, p in model.named_parameters() if "input_layernorm" in n)
            weight.data[0] = float("nan")

    def on_log(self, args, state, control, logs=None, **_):
        if RANK == 0 and "loss" in logs:
            kept = {name: logs[name] for name in ("loss", "grad_norm", "learning_rate")}
            with open(told, "a") as stream:
                stream.write(json.dumps({"step": state.global_step, **kept}) + "\\n")


def main():
    texts = [[(7 * i + 3 * j) % 500 + 10 for j in range(6 + i % 9)] for i in range(40)]
    rows = [{"input_ids": t, "labels": [-100] * (len(t) - 2) + t[-2:]} for t in texts]
    trainer = Trainer(
        model=load_model(Path(base), quantization="4bit"),
        args=FinSFTConfig(
            output_dir=out, max_steps=8, global_batch_size=8, learning_rate=5e-3, seed=3,
            per_device_train_batch_size=2, save_strategy="steps", save_steps=1,
            save_total_limit=2, logging_steps=1, disable_tqdm=True, bf16=True,
            deepspeed=deepspeed or None,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(Path(base)),
        peft_config=LoraConfig(r=4, lora_dropout=0.1, target_modules=["q_proj", "v_proj"]),
        callbacks=[Watch()],
    )
    resumed = any(Path(out).glob("checkpoint-*"))
    train(trainer, start=resume_point(resumed, output_dir=Path(out)))
    if RANK == 0:
        weights = {
            name: p.float().sum().item()
            for name, p in trainer.model.named_parameters() if p.requires_grad
        }
        Path(told).with_suffix(".weights").write_text(json.dumps(weights))


torch.set_num_threads(1)
sys.exit(run_guarded(main))
'''


@pytest.fixture
def launch(small_base, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")

    def run(name, *, processes, out, place="", at=0, deepspeed=""):
        how = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        command = [
            *(sys.executable, *(how if processes > 1 else ()), str(program), str(small_base)),
            *(str(tmp_path / out), str(tmp_path / f"{name}.jsonl"), place, str(at), deepspeed),
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
        )
        started.append(process)
        return process

    started: list[subprocess.Popen[str]] = []
    yield run
    for process in started:
        process.kill()
        process.communicate()


def told(folder: Path, name: str) -> dict[int, dict]:
    lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
    return {entry["step"]: entry for entry in map(json.loads, lines)}


def names(folder: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


def last_words(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("fin-qlora: ")]


LOST = r"Rank 1 \(process \d+\) of 2 has ended in the middle of the run.*--resume_from_checkpoint"


@pytest.mark.parametrize(
    ("processes", "deepspeed", "kills"),
    [
        (1, "", [("step", 3), ("save", 6)]),
        (2, "", [("save", 4)]),
        (2, "adamw_zero1_bf16", [("step", 3)]),
    ],
    ids=["one", "two", "zero1"],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(launch, tmp_path, processes, deepspeed, kills):
    how = {"processes": processes, "deepspeed": deepspeed}
    whole = launch("whole", out="whole", **how)
    run = tmp_path / "run"
    for number, (place, step) in enumerate(kills):
        killed = launch(f"killed-{number}", out="run", place=place, at=step, **how)
        said, _ = killed.communicate(timeout=240)
        assert killed.returncode != 0, said[-3000:]
        newest = step if place == "step" else step - 1
        assert names(run, "checkpoint-*") == [f"checkpoint-{newest - 1}", f"checkpoint-{newest}"]
        if place == "save" and processes == 1:
            # nobody is left to clean up
            assert names(run / ".saving", "*") == [f"checkpoint-{step}"]
        if processes == 2:
            assert re.search(LOST, said), said
    last = launch("last", out="run", **how)
    for process in (last, whole):
        said, _ = process.communicate(timeout=240)
        assert process.returncode == 0, said[-3000:]

    expected = told(tmp_path, "whole")
    assert sorted(expected) == [*range(1, 9)]
    assert sorted(told(tmp_path, "last")) == [*range(newest + 1, 9)]
    for name in (*(f"killed-{number}" for number in range(len(kills))), "last"):
        for step, entry in told(tmp_path, name).items():
            assert entry == expected[step], (name, step)
    weights = [(tmp_path / f"{name}.weights").read_text() for name in ("whole", "last")]
    assert weights[0] == weights[1]
    assert names(run, "*") == ["checkpoint-7", "checkpoint-8"]


def test_a_loss_that_is_no_number_on_one_process_ends_all_alike(launch, tmp_path):
    process = launch("nan", processes=2, out="run", place="nan", at=2)
    said, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    # the launcher may end the second one before it speaks
    sentences = last_words(said)
    assert sentences, said[-3000:]
    assert all("of step 3" in sentence for sentence in sentences), sentences
    assert names(tmp_path / "run", "*") == ["checkpoint-1", "checkpoint-2"]
