"""The recipe on two processes: one run, one folder, whose evidence says that there were two.

That the weights are equal on both, and those of one process, is tests/invariant's matter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fin_qlora.files import shipped
from fin_qlora.inference import load_adapter


def launch(output, *flags: str, profile: str = "cpu-ddp-2") -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(shipped("recipes") / "accelerate" / f"{profile}.yaml")),
        *("-m", "fin_qlora.recipes.classification", "--task", "synthetic_sentiment"),
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
    assert manifest["evaluation"]["rows"] == 300
    deepspeed = manifest["configuration"].get("deepspeed", {})
    assert ("zero_optimization" in deepspeed) == bool(flags)
    assert not list((tmp_path / "run").glob("checkpoint-*"))
    load_adapter(tmp_path / "run" / "adapter")


def test_processes_that_do_not_find_one_another_are_refused(monkeypatch):
    from fin_qlora.errors import EnvironmentFault
    from fin_qlora.training.processes import check_world

    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2)
    with pytest.raises(EnvironmentFault, match="started 2 processes"):
        check_world(1)
