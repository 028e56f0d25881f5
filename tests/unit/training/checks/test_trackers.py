"""Trackers are transformers' own, none is used unless it is named, and nothing else dials out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from fin_qlora.errors import MissingDependencyError, UnknownNameError
from fin_qlora.training.checks import trackers


def test_a_tracker_that_is_not_installed_is_said_at_once(make, monkeypatch):
    monkeypatch.setattr(trackers, "get_available_reporting_integrations", list)
    with pytest.raises(MissingDependencyError, match="'tensorboard', which is not installed"):
        make(report_to="tensorboard")
    with pytest.raises(UnknownNameError, match="Did you mean 'tensorboard'"):
        make(report_to="tensorbord")


def test_what_transformers_has_for_a_tracker_gets_what_is_logged(make, monkeypatch):
    seen = []

    class Tracker(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            seen.append(dict(logs))

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "trackio", Tracker)
    monkeypatch.setattr(trackers, "get_available_reporting_integrations", lambda: ["trackio"])
    make(report_to="trackio", max_steps=2).train()
    assert [round(logs["loss"], 3) for logs in seen if "loss" in logs] != []
    assert {"loss", "grad_norm", "learning_rate", "num_tokens"} <= seen[0].keys()
    seen.clear()
    make(max_steps=2).train()
    assert seen == []


def test_tensorboard_gets_events(make, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    make(report_to="tensorboard", max_steps=2).train()
    assert list((tmp_path / "board").rglob("events.out.tfevents.*"))


TRAIN = """
import sys
import transformers, trl  # as a notebook does, before ours can tell them to be quiet
assert not transformers.utils.hub.constants.HF_HUB_DISABLE_TELEMETRY
from pathlib import Path
from datasets import Dataset
from peft import LoraConfig
from fin_qlora import FinSFTConfig, FinSFTTrainer
from fin_qlora.models.base import load_model, load_tokenizer
base = Path(sys.argv[1])
rows = [{"input_ids": [10, 11, 12, 13], "labels": [-100, -100, 12, 13]}] * 4
FinSFTTrainer(
    model=load_model(base, quantization="none"),
    args=FinSFTConfig(output_dir=sys.argv[2], max_steps=1, learning_rate=1e-2, disable_tqdm=True),
    train_dataset=Dataset.from_list(rows),
    processing_class=load_tokenizer(base),
    peft_config=LoraConfig(r=2, target_modules=["q_proj"]),
).train()
"""


def test_training_tells_nobody_that_it_is_used(small_base, tmp_path, dials):
    """TRL posts each trainer that is made to the public hub, unless it was told not to in time."""
    hidden = (
        *("HF_ENDPOINT", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "DO_NOT_TRACK", "CI"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    )
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(small_base), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=kept | {"HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert dials.attempts() == []
