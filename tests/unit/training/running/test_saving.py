"""A checkpoint's folder is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from transformers import EarlyStoppingCallback, TrainerCallback

from fin_qlora import FinSFTTrainer
from fin_qlora.errors import DiskFullError, EnvironmentFault
from fin_qlora.training.running.checkpoints import resume_point
from fin_qlora.training.running.saving import NOTE, STAGING, clean, recover

EVERY_STEP = {"save_strategy": "steps", "save_steps": 1, "max_steps": 3}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


class Before(TrainerCallback):
    """Does something at the beginning of a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def on_step_begin(self, args, state, control, **_):
        if state.global_step + 1 == self.step:
            self.act()


@pytest.mark.parametrize("file", ["optimizer.pt", "rng_state.pth", "adapter_model.safetensors"])
def test_a_full_disk_leaves_the_checkpoints_before_it(make, tmp_path, monkeypatch, file):
    """The system itself says that there is no space: the file is /dev/full."""
    write = FinSFTTrainer.save_model
    before: dict[str, bytes] = {}

    def save_model(trainer, folder, **options):
        if trainer.state.global_step == 2:
            before.update(contents(tmp_path / "checkpoint-1"))
            os.makedirs(folder, exist_ok=True)
            (Path(folder) / file).symlink_to("/dev/full")
        return write(trainer, folder, **options)

    monkeypatch.setattr(FinSFTTrainer, "save_model", save_model)
    if file.endswith("safetensors"):
        # it is written beside and renamed, which a link to a device does not survive
        import safetensors.torch

        def full(*_arguments, **_options):
            with open("/dev/full", "wb", buffering=0) as stream:
                stream.write(b"x")

        def save_model_full(trainer, folder, **options):
            if trainer.state.global_step == 2:
                before.update(contents(tmp_path / "checkpoint-1"))
                monkeypatch.setattr(safetensors.torch, "save_file", full)
                monkeypatch.setattr("peft.peft_model.safe_save_file", full)
            return write(trainer, folder, **options)

        monkeypatch.setattr(FinSFTTrainer, "save_model", save_model_full)
    with pytest.raises(DiskFullError, match=r"checkpoint-2' could not be written") as caught:
        make(**EVERY_STEP).train()
    assert "checkpoints before it are as they were" in caught.value.fix
    assert names(tmp_path) == ["checkpoint-1"]
    assert contents(tmp_path / "checkpoint-1") == before
    assert resume_point(True, output_dir=tmp_path).step == 1


def test_another_failure_is_said_with_its_cause(make, tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise ValueError("no such tensor\nand more")

    monkeypatch.setattr(FinSFTTrainer, "_save_rng_state", fail)
    with pytest.raises(EnvironmentFault, match=r"ValueError: no such tensor\. The checkpoints"):
        make(**EVERY_STEP).train()
    assert names(tmp_path) == []


def test_rotation_never_takes_the_last_whole_one(make, tmp_path, monkeypatch):
    seen = []

    class Look(TrainerCallback):
        def on_save(self, args, state, control, **_):
            seen.append(names(tmp_path))

    trainer = make(**EVERY_STEP, save_total_limit=1)
    trainer.add_callback(Look())
    trainer.train()
    assert seen == [["checkpoint-1"], ["checkpoint-2"], ["checkpoint-3"]]

    def fail(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FinSFTTrainer, "_save_rng_state", fail)
    with pytest.raises(DiskFullError):
        make(**(EVERY_STEP | {"max_steps": 4}), save_total_limit=1).train(
            resume_from_checkpoint=True
        )
    assert names(tmp_path) == ["checkpoint-3"]


def test_what_a_killed_save_left_is_ignored_and_cleaned(make, tmp_path):
    make(**(EVERY_STEP | {"max_steps": 2})).train()
    half = tmp_path / STAGING / "checkpoint-3"
    half.mkdir(parents=True)
    (half / "trainer_state.json").write_text("{")
    assert resume_point(True, output_dir=tmp_path).step == 2
    trainer = make(**EVERY_STEP)
    trainer.add_callback(Before(3, lambda: seen.extend(names(tmp_path))))
    seen: list[str] = []
    trainer.train(resume_from_checkpoint=True)
    assert seen == ["checkpoint-1", "checkpoint-2"]
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]


def test_a_checkpoint_that_only_lacked_its_name_gets_it(make, tmp_path):
    make(**(EVERY_STEP | {"max_steps": 2})).train()
    staging = tmp_path / STAGING
    staging.mkdir()
    os.replace(tmp_path / "checkpoint-2", staging / "checkpoint-2")
    # as _put_in_place was about to replace an older one of that name
    shutil.copytree(tmp_path / "checkpoint-1", staging / "old-checkpoint-2")
    shutil.copytree(tmp_path / "checkpoint-1", staging / "checkpoint-7.old")
    assert resume_point(True, output_dir=tmp_path).step == 2
    assert names(tmp_path / "checkpoint-2").count(NOTE) == 1
    recover(tmp_path)
    clean(tmp_path)
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-2"]


def test_a_copy_under_another_name_is_no_checkpoint(make, tmp_path):
    make(**(EVERY_STEP | {"max_steps": 1})).train()
    copy = tmp_path / "checkpoint-1.bak"
    shutil.copytree(tmp_path / "checkpoint-1", copy)
    os.utime(copy / "trainer_state.json")
    assert resume_point(True, output_dir=tmp_path).folder == tmp_path / "checkpoint-1"
    make(**EVERY_STEP, save_total_limit=1).train()
    assert names(tmp_path) == ["checkpoint-1.bak", "checkpoint-3"]


def test_an_older_checkpoint_is_kept_aside_until_it_is_replaced(make, tmp_path, monkeypatch):
    make(**(EVERY_STEP | {"max_steps": 1})).train()
    rename = os.replace

    def killed(source, target):
        if Path(target) == tmp_path / "checkpoint-1":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr("fin_qlora.training.running.saving.os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        make(**EVERY_STEP).train()
    monkeypatch.undo()
    assert (tmp_path / STAGING / "old-checkpoint-1" / NOTE).is_file()
    recover(tmp_path)
    assert [path.name for path in tmp_path.glob("checkpoint*")] == ["checkpoint-1"]


def test_an_older_checkpoint_of_the_same_name_is_replaced_whole(make, tmp_path):
    make(**EVERY_STEP).train()
    (tmp_path / "checkpoint-3" / "stray.txt").write_text("of the run before")
    make(**EVERY_STEP).train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert "stray.txt" not in names(tmp_path / "checkpoint-3")
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-2", "checkpoint-3"]


def test_the_best_checkpoint_is_known_by_its_name_and_stays(make, tmp_path):
    from datasets import Dataset

    from ..conftest import CONTRACT, ROWS

    trainer = make(
        **(EVERY_STEP | {"max_steps": 6}),
        save_total_limit=1,
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=True,  # so that an early one is the best
        options={
            "callbacks": [EarlyStoppingCallback(early_stopping_patience=2)],
            "eval_dataset": Dataset.from_list(
                [
                    {"input_ids": one.input_ids, "labels": one.labels}
                    for one in (
                        CONTRACT.encode(make.tokenizer, text, label) for text, label in ROWS[:4]
                    )
                ]
            ),
        },
    )
    trainer.train()
    assert trainer.state.global_step == 3, "stopped by the user's callback"
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-1")
    assert "checkpoint-1" in names(tmp_path)
    start = resume_point(str(tmp_path / "checkpoint-1"), output_dir=tmp_path)
    state = (start.folder / "trainer_state.json").read_text("utf-8")
    assert STAGING not in state


def test_a_checkpoint_is_published_under_its_own_name(make, tmp_path, monkeypatch):
    pushed = []
    monkeypatch.setattr("trl.SFTTrainer.init_hf_repo", lambda *_: None)
    monkeypatch.setattr(
        "trl.SFTTrainer._push_from_checkpoint",
        lambda trainer, folder: pushed.append((folder, NOTE in names(Path(folder)))),
    )
    monkeypatch.setattr("trl.SFTTrainer._finish_current_push", lambda *_: None)
    make(**(EVERY_STEP | {"max_steps": 1}), push_to_hub=True, hub_model_id="x/y").train()
    assert pushed == [(str(tmp_path / "checkpoint-1"), True)]
