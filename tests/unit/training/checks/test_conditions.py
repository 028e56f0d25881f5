"""The arithmetic of a step, the precision, and whom a run speaks to, before anything is loaded."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fin_qlora import FinSFTConfig
from fin_qlora.errors import EmptyDatasetError, EnvironmentFault, UsageError
from fin_qlora.models.tiny import TINY_ID
from fin_qlora.training.checks.conditions import (
    Batch,
    check_conditions,
    check_precision,
    check_settings,
)
from fin_qlora.training.checks.egress import contacts, leaving


def settings(**changes):
    usual = {
        "per_device_train_batch_size": 16,
        "world_size": 4,
        "gradient_accumulation_steps": 1,
        "num_train_epochs": 4,
        "max_steps": -1,
        "packing": False,
        "bf16": True,
        "fp16": False,
        "use_cpu": True,
        "deepspeed": None,
        "optim": "zero_one_adam",
        "report_to": [],
    }
    return SimpleNamespace(**(usual | changes))


def test_the_papers_batch_is_64_rows_a_step():
    found = check_conditions(settings(), rows=9540, base=TINY_ID)
    assert found.batch.report() == {
        "per_device_train_batch_size": 16,
        "processes": 4,
        "gradient_accumulation_steps": 1,
        "global_batch_size": 64,
        "steps_an_epoch": 150,
        "steps": 600,
    }
    assert found.lines()[0] == (
        "global batch 64 = 16 rows x 4 processes x 1 accumulated; 150 steps an epoch, 600 in all"
    )
    assert found.lines()[1:] == ["bfloat16, zero_one_adam"]


def test_the_steps_are_those_that_the_trainer_takes(make):
    for changes in ({}, {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 2}):
        trainer = make(num_train_epochs=1.5, max_steps=-1, logging_strategy="no", **changes)
        batch = check_conditions(trainer.args, rows=24, base=TINY_ID).batch
        assert trainer.train().global_step == batch.steps


def test_a_number_of_steps_wins_over_epochs():
    batch = Batch(rows=10, per_device=4, processes=1, accumulation=1, epochs=9, max_steps=2)
    assert (batch.steps_an_epoch, batch.steps) == (3, 2)


def test_a_process_without_a_row_is_refused():
    with pytest.raises(EmptyDatasetError, match="3 training rows for 4 processes"):
        check_conditions(settings(), rows=3, base=TINY_ID)


def test_packing_several_tasks_is_refused():
    with pytest.raises(UsageError, match="a packed row has no task"):
        check_conditions(settings(packing=True), rows=99, base=TINY_ID, tasks=["a", "b"])
    check_conditions(settings(packing=True), rows=99, base=TINY_ID, tasks=["a"])


def test_float16_is_refused_where_it_cannot_work(monkeypatch):
    half = {"bf16": False, "fp16": True}
    with pytest.raises(EnvironmentFault, match="on a processor"):
        check_precision(settings(**half))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UsageError, match="computed in bfloat16"):
        check_precision(settings(**half, use_cpu=False))
    check_precision(settings(**half, use_cpu=False, deepspeed={"fp16": {}}))


def test_a_gpu_without_bfloat16_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    check_precision(settings(use_cpu=False))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(EnvironmentFault, match="Tesla T4 has no bfloat16"):
        check_precision(settings(use_cpu=False))
    check_precision(settings(use_cpu=True))


def test_nothing_is_spoken_to_by_default(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_ENDPOINT")
    for base in (TINY_ID, str(tmp_path), "org/name"):
        found = contacts(FinSFTConfig(output_dir=str(tmp_path)), base=base)
        assert leaving(found) == []
        assert all("stays on this machine" in one.sentence for one in found)


def test_the_hub_that_is_named_is_told(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.bank.example")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.bank.example")
    found = check_conditions(settings(), rows=99, base="org/name")
    assert found.report()["speaks_to"] == ["hub.bank.example"]
    assert found.lines()[-1] == "fetching the base 'org/name' speaks to hub.bank.example"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert leaving(contacts(settings(), base="org/name")) == []


@pytest.mark.parametrize(
    ("tracker", "environment", "hosts"),
    [
        ("none", {}, []),
        ("tensorboard", {}, []),
        ("wandb", {}, ["api.wandb.ai"]),
        ("wandb", {"WANDB_MODE": "offline"}, []),
        ("wandb", {"WANDB_BASE_URL": "https://wandb.bank.example:8080"}, ["wandb.bank.example"]),
        ("wandb", {"WANDB_BASE_URL": "http://localhost:8080"}, []),
        ("mlflow", {}, []),
        ("mlflow", {"MLFLOW_TRACKING_URI": "file:///var/mlruns"}, []),
        ("mlflow", {"MLFLOW_TRACKING_URI": "http://mlflow.bank.example"}, ["mlflow.bank.example"]),
        ("mlflow", {"MLFLOW_TRACKING_URI": "databricks"}, ["your Databricks host"]),
        ("trackio", {}, []),
        ("trackio", {"TRACKIO_SPACE_ID": "me/board"}, ["127.0.0.1"]),
        ("comet_ml", {}, ["comet_ml's own service"]),
        ("codecarbon", {}, ["codecarbon's own service"]),
        ("dvclive", {}, ["dvclive's own service"]),
    ],
)
def test_every_tracker_that_would_leave_is_named(monkeypatch, tracker, environment, hosts):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = contacts(settings(report_to=[tracker]), base=TINY_ID)
    assert leaving(found) == [host for host in hosts if host != "127.0.0.1"]


def test_trackio_is_told_by_its_settings_too(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT")
    found = contacts(settings(report_to=["trackio"], trackio_space_id="me/board"), base=TINY_ID)
    assert leaving(found) == ["huggingface.co"]


def test_the_stage_of_deepspeed_is_told():
    for given, told in (({"bf16": {}}, 0), ({"zero_optimization": {"stage": 2}}, 2)):
        found = check_conditions(settings(deepspeed=given), rows=99, base=TINY_ID)
        assert found.lines()[1] == f"bfloat16, zero_one_adam, DeepSpeed ZeRO stage {told}"


def test_an_optimizer_that_does_not_fit_is_found_before_any_row_is_read(tmp_path):
    args = FinSFTConfig(output_dir=str(tmp_path), optim="zero_one_adam")
    with pytest.raises(UsageError, match="there is only one"):
        check_settings(args)
