"""A run that was stopped goes on where it was, and leaves nothing when it has ended."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest
from transformers import TrainerCallback

from fin_qlora.errors import CheckpointMismatchError, DiskFullError, MissingFileError
from fin_qlora.training import FinSFTConfig
from fin_qlora.training.checks.preflight import checkpoints_at_once, require_space, room_for
from fin_qlora.training.result.adapter_folder import FinishedRun
from fin_qlora.training.running import checkpoints
from fin_qlora.training.running.checkpoints import (
    NOTE,
    TrainingInterrupted,
    forget,
    resume_point,
    train,
)

ORDER = {"train_sampling_strategy": "sequential", "max_steps": 6}


class Signal(TrainerCallback):
    """Sends this process a signal in the middle of a step."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == self.step:
            os.kill(os.getpid(), self.number)


def weights(trainer) -> dict:
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(make, tmp_path, number):
    whole = make(**ORDER)
    forget(train(whole))
    before = signal.getsignal(number)
    stopped = make(**ORDER)
    stopped.add_callback(Signal(2, number))
    with pytest.raises(TrainingInterrupted) as caught:
        train(stopped)
    assert signal.getsignal(number) is before
    assert caught.value.checkpoint == tmp_path / "checkpoint-3"

    start = resume_point(True, output_dir=tmp_path)
    assert (start.folder, start.step, start.temporary) == (tmp_path / "checkpoint-3", 3, True)
    assert start.cost.seconds > 0
    resumed = make(**ORDER)
    left = train(resumed, start=start)
    assert resumed.state.global_step == 6
    for name, weight in weights(whole).items():
        assert weight.equal(weights(resumed)[name]), name
    forget(left)
    assert not list(tmp_path.glob("checkpoint-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_trainer_alone_is_stopped_with_a_checkpoint_too(make, tmp_path, number):
    whole = make(**ORDER)
    whole.train()
    assert list(tmp_path.iterdir()) == [], "nobody asked for one"
    before = signal.getsignal(number)
    stopped = make(**ORDER)
    stopped.add_callback(Signal(2, number))
    with pytest.raises(TrainingInterrupted) as caught:
        stopped.train()
    assert signal.getsignal(number) is before
    assert caught.value.checkpoint == tmp_path / "checkpoint-3"
    assert resume_point(True, output_dir=tmp_path).temporary
    resumed = make(**ORDER)
    resumed.train(resume_from_checkpoint=True)
    for name, weight in weights(whole).items():
        assert weight.equal(weights(resumed)[name]), name


class InTheEnd(TrainerCallback):
    """Sends a signal when the last step has been looked at."""

    def on_step_end(self, args, state, control, **_):
        if state.global_step == state.max_steps:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_after_the_last_look_is_not_lost(make, tmp_path):
    trainer = make(**ORDER)
    trainer.add_callback(InTheEnd())
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.train()
    assert caught.type is KeyboardInterrupt
    trainer = make(**ORDER)
    trainer.add_callback(InTheEnd())
    with pytest.raises(TrainingInterrupted) as caught:
        train(trainer)
    assert caught.value.checkpoint == tmp_path / "checkpoint-6"


def test_the_last_checkpoint_is_resumed_without_another_step(make, tmp_path):
    first = make(**ORDER)
    (left,) = train(first)
    start = resume_point(str(left), output_dir=tmp_path)
    again = make(**ORDER)
    assert train(again, start=start) == [left]
    for name, weight in weights(first).items():
        assert weight.equal(weights(again)[name]), name
    longer = make(**(ORDER | {"max_steps": 8}))
    train(longer, start=start)
    assert longer.state.global_step == 8


def test_a_run_that_is_stopped_again_leaves_its_newest_checkpoint_alone(make, tmp_path):
    for step in (1, 3):
        trainer = make(**ORDER)
        trainer.add_callback(Signal(step))
        asked = bool(list(tmp_path.glob("checkpoint-*")))
        with pytest.raises(TrainingInterrupted):
            train(trainer, start=resume_point(asked, output_dir=tmp_path))
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-4"]


def test_the_last_checkpoint_is_the_newest_whole_one(make, tmp_path):
    (left,) = train(make(max_steps=2))
    stale, torn = tmp_path / "checkpoint-50", tmp_path / "checkpoint-60"
    shutil.copytree(left, stale)
    os.utime(stale / "trainer_state.json", (1, 1))
    torn.mkdir()
    assert resume_point(True, output_dir=tmp_path).folder == left


def test_checkpoints_that_were_asked_for_stay(make, tmp_path):
    assert train(make(save_strategy="steps", save_steps=3, **ORDER)) == []
    assert (tmp_path / "checkpoint-6").is_dir()


def test_a_second_signal_stops_at_once(make, monkeypatch):
    monkeypatch.setattr(checkpoints, "PATIENCE", -1.0)
    trainer = make(**ORDER)
    trainer.add_callback(Signal(1))
    trainer.add_callback(Signal(1))
    with pytest.raises(KeyboardInterrupt) as caught:
        train(trainer)
    assert caught.type is KeyboardInterrupt


def test_a_checkpoint_of_plain_trl_does_not_tell_its_cost(make, tmp_path):
    make(save_strategy="steps", save_steps=2, max_steps=2).train()
    folder = tmp_path / "checkpoint-2"
    for ours in folder.glob("fin_qlora_*"):
        ours.unlink()
    start = resume_point(str(folder), output_dir=tmp_path)
    assert (start.step, start.cost, start.identity, start.temporary) == (2, None, None, False)
    trainer = make(max_steps=3)
    train(trainer, start=start)
    assert trainer.cost.known_from_the_start is False


def test_no_checkpoint_is_said(tmp_path):
    assert resume_point(None, output_dir=tmp_path) is None
    assert resume_point(False, output_dir=tmp_path) is None
    with pytest.raises(MissingFileError, match="no checkpoint in"):
        resume_point(True, output_dir=tmp_path / "nowhere")
    with pytest.raises(MissingFileError, match=r"no trainer_state\.json"):
        resume_point(str(tmp_path), output_dir=tmp_path)


def test_a_disk_without_room_is_found_before_training(tmp_path, monkeypatch):
    require_space(tmp_path / "not" / "yet", 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(9, 8, 2**20))
    with pytest.raises(DiskFullError, match="1 MiB left; the run may need 80 MiB"):
        require_space(tmp_path, room_for(2**20))


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 1),
        ({"save_strategy": "epoch", "num_train_epochs": 4}, 5),
        ({"save_strategy": "steps", "save_steps": 100}, 11),
        ({"save_strategy": "steps", "save_steps": 0.5}, 3),
        ({"save_strategy": "steps", "save_steps": 100, "save_total_limit": 2}, 3),
        ({"save_strategy": "epoch", "num_train_epochs": 1, "save_total_limit": 9}, 2),
    ],
)
def test_every_checkpoint_that_is_kept_needs_room(tmp_path, settings, count):
    args = FinSFTConfig(output_dir=str(tmp_path), **settings)
    assert checkpoints_at_once(args, steps=1000) == count
    room = room_for(2**20, checkpoints=count)
    assert room == room_for(0) + 16 * 2**20 * count


def test_a_damaged_note_is_said(make, tmp_path):
    (left,) = train(make(max_steps=1))
    (left / NOTE).write_text('{"cost": {}}')
    with pytest.raises(CheckpointMismatchError, match="is damaged"):
        resume_point(True, output_dir=tmp_path)


def test_the_cost_of_a_resumed_run_is_that_of_all_its_parts(make, tmp_path):
    whole = make(**ORDER)
    train(whole)
    stopped = make(**ORDER)
    stopped.add_callback(Signal(2))
    with pytest.raises(TrainingInterrupted):
        train(stopped)
    note_path = tmp_path / "checkpoint-3" / NOTE
    note = json.loads(note_path.read_text("utf-8"))
    note["cost"] |= {"seconds": 100.0, "gpu_seconds": 50.0}
    note["cost"]["processes"][0]["resident_peak_bytes"] = 2**60
    note_path.write_text(json.dumps(note), "utf-8")
    resumed = make(**ORDER)
    train(resumed, start=resume_point(True, output_dir=tmp_path))
    cost = resumed.cost
    assert 100 < cost.seconds < 160
    assert (cost.gpu_seconds, cost.known_from_the_start) == (50.0, True)
    assert cost.trained_tokens == whole.cost.trained_tokens > 0
    assert cost.seen_tokens == whole.cost.seen_tokens > cost.trained_tokens
    assert cost.peak_memory_bytes == 2**60
    manifest = FinishedRun(
        preflight=None,
        model=resumed.model,
        quantization="none",
        configuration={},
        seed=1,
        cost=cost,
        evaluations={},
        resumed=resume_point(str(tmp_path / "checkpoint-3"), output_dir=tmp_path),
    )._cost(adapter_bytes=1)
    assert (manifest["resumed_from_step"], manifest["partial"]) == (3, False)
    assert manifest["gpu_hours"] == round(50 / 3600, 6)
