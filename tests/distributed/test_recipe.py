"""The recipe on two processes: one run, one folder, whose evidence says that there were two.

That the weights are equal on both, and those of one process, is tests/invariant's matter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from safetensors import safe_open

from fin_qlora.files import shipped
from fin_qlora.inference import load_adapter


def launch(
    output,
    *flags: str,
    profile: str = "cpu-ddp-2",
    module: str = "classification",
    tasks: tuple[str, ...] = ("synthetic_sentiment",),
) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(shipped("recipes") / "accelerate" / f"{profile}.yaml")),
        *("-m", f"fin_qlora.recipes.{module}", "--tasks", *tasks),
        *("--load_in_4bit", "true", "--learning_rate", "2e-3", "--max_steps", "4"),
        *("--per_device_train_batch_size", "8", "--cpu_threads", "1"),
        *("--output_dir", str(output), *flags),
    ]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False, env=os.environ
    )


@pytest.mark.parametrize("flags", [(), ("--deepspeed=adamw_zero1_bf16",)], ids=["ddp", "zero1"])
def test_two_processes_leave_one_adapter(tmp_path, small_base, flags):
    done = launch(tmp_path / "run", "--model_name_or_path", str(small_base), *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == str(tmp_path / "run" / "adapter")
    manifest = json.loads((tmp_path / "run" / "adapter" / "manifest.json").read_text("utf-8"))
    assert manifest["configuration"]["world_size"] == 2
    (task,) = manifest["tasks"]
    assert task["evaluation"]["rows"] == 300
    deepspeed = manifest["configuration"].get("deepspeed", {})
    assert ("zero_optimization" in deepspeed) == bool(flags)
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    load_adapter(tmp_path / "run" / "adapter")


def test_a_base_that_two_processes_share_out_is_evaluated_by_both(tmp_path, small_base):
    flags = ("--model_name_or_path", str(small_base), "--evaluation_rows", "6")
    done = launch(tmp_path / "run", *flags, "--deepspeed=adamw_zero3_bf16")
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "run" / "adapter"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["configuration"]["deepspeed"]["zero_optimization"]["stage"] == 3
    (task,) = manifest["tasks"]
    assert task["evaluation"]["rows"] == 6
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as stored:
        trained = sum(stored.get_tensor(name).numel() for name in list(stored.keys()))
    assert manifest["cost"]["trainable_parameters"] == trained > 0
    whole = launch(tmp_path / "whole", *flags)
    assert whole.returncode == 0, whole.stderr[-3000:]
    other = json.loads((tmp_path / "whole" / "adapter" / "manifest.json").read_text("utf-8"))
    for figure in ("accuracy", "weighted_f1"):
        base = other["tasks"][0]["evaluation"]["base"]
        assert task["evaluation"]["base"][figure] == base[figure]
    load_adapter(folder)  # it asks the canaries again


@pytest.mark.parametrize(
    ("module", "tasks"),
    [
        ("xbrl", ("xbrl_tag", "xbrl_value")),
        ("classification", ("synthetic_sentiment", "synthetic_ner")),
    ],
)
def test_several_tasks_on_two_processes_are_told_apart(
    tmp_path, small_base, xbrl_questions, module, tasks
):
    flags = ["--model_name_or_path", str(small_base), "--global_batch_size", "16"]
    flags += ["--optim", "zero_one_adam", "--logging_steps", "1", "--evaluation_rows", "3"]
    if module == "xbrl":
        flags += ["--data_dir", str(xbrl_questions)]
    done = launch(tmp_path / "run", *flags, module=module, tasks=tasks)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / "run" / "adapter"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert [one["task"] for one in manifest["tasks"]] == list(tasks)
    assert all(one["evaluation"]["rows"] == 3 for one in manifest["tasks"])
    assert manifest["configuration"]["optim"] == "zero_one_adam"
    assert manifest["configuration"]["evaluation_rows"] == 3
    assert "global batch 16 = 8 rows x 2 processes x 1 accumulated" in done.stderr
    told = done.stdout + done.stderr
    for task in tasks:
        assert f"{task}: 3 evaluation rows" in done.stderr
        assert f"loss/{task}" in told or f"{task} " in told
    assert list(load_adapter(folder).tasks) == list(tasks)


def test_processes_that_do_not_find_one_another_are_refused(monkeypatch):
    from fin_qlora.errors import EnvironmentFault
    from fin_qlora.training.running.processes import check_world

    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2)
    with pytest.raises(EnvironmentFault, match="started 2 processes"):
        check_world(1)
