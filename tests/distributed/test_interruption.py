"""Ctrl-C in the middle of training: exit code 130, a checkpoint, and a run that goes on from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from fin_qlora.files import shipped

RECIPE = ("-m", "fin_qlora.recipes.classification")
LAUNCHED = (
    *("-m", "accelerate.commands.launch", "--config_file"),
    *(str(shipped("recipes") / "accelerate" / "cpu-ddp-2.yaml"), *RECIPE),
)


@pytest.fixture
def start(small_base, tmp_path):
    """Start the recipe on a small base; its output goes to a file that can be read meanwhile."""

    def run(how: tuple[str, ...], *flags: str) -> subprocess.Popen[str]:
        command = [
            *(sys.executable, *how, "--task", "synthetic_sentiment", "--load_in_4bit"),
            *("--model_name_or_path", str(small_base), "--output_dir", str(tmp_path / "run")),
            *("--max_steps", "80", "--per_device_train_batch_size", "8", "--logging_steps", "1"),
            *("--max_length", "512", "--disable_tqdm", "true", "--cpu_threads", "1", *flags),
        ]
        with (tmp_path / "output.txt").open("w") as stream:
            return subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    return run


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(process.pid)
    return found.children(recursive=True) or [found]


@pytest.mark.parametrize("how", [RECIPE, LAUNCHED], ids=["one", "two"])
def test_an_interrupted_run_can_be_resumed(start, tmp_path, how, monkeypatch):
    code = tmp_path / "code"
    monkeypatch.setenv("FIN_QLORA_EXIT_CODE_FILE", str(code))
    process = start(how)
    output = tmp_path / "output.txt"
    deadline = time.monotonic() + 240
    while " loss " not in output.read_text() and process.poll() is None:
        assert time.monotonic() < deadline, output.read_text()[-3000:]
        time.sleep(0.05)
    for worker in workers(process):
        worker.send_signal(signal.SIGINT)
    ended = process.wait(timeout=120)
    said = output.read_text()
    assert code.read_text() == "130", said[-3000:]
    assert ended == (130 if how is RECIPE else 1), "accelerate knows one code for all failures"
    (checkpoint,) = (tmp_path / "run").glob("checkpoint-*")
    assert f"continue with --resume_from_checkpoint {checkpoint}" in said
    step = int(checkpoint.name.rpartition("-")[2])
    assert 0 < step < 80
    assert not (tmp_path / "run" / "adapter").exists()

    again = start(how, "--resume_from_checkpoint", "true")
    assert again.wait(timeout=300) == 0, output.read_text()[-3000:]
    manifest = json.loads((tmp_path / "run" / "adapter" / "manifest.json").read_text("utf-8"))
    assert manifest["cost"]["resumed_from_step"] == step
    assert manifest["cost"]["partial"] is False
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["adapter"]
