"""FinSFTTrainer with 0/1 Adam on two processes: by DDP, and by DeepSpeed without ZeRO."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
TORCHRUN = (
    *(str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2"),
    *("--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"),
)
OURS = {"optim": "zero_one_adam"}
DENSE = OURS | {"zero_one_var_freeze_step": 1000, "zero_one_var_update_scaler": 1000}
BEST = {"metric_for_best_model": "loss", "greater_is_better": False}
FROZEN = {
    "zero_one_var_freeze_step": 20,
    "zero_one_var_update_scaler": 100,
    "zero_one_local_step_scaler": 3,
    "max_steps": 36,
}


def finetune(folder: Path, base: Path, runs: dict) -> None:
    done = subprocess.run(
        [*TORCHRUN, str(HERE / "finetune.py"), str(folder), str(base), json.dumps(runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def seen(folder: Path, rank: int = 0) -> dict:
    return json.loads((folder / f"{rank}.json").read_text("utf-8"))


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in seen(folder)["logs"]]


def weights(folder: Path) -> list[dict]:
    """The trained weights of the ranks, which must be the same to the bit."""
    first, second = (torch.load(folder / f"{rank}.pt") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
    return first


def same(ours: dict, theirs: dict) -> bool:
    return all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.fixture(scope="module")
def ddp(tmp_path_factory, small_base) -> Path:
    folder = tmp_path_factory.mktemp("ddp")
    checkpoint = str(folder / "watched" / "run" / "checkpoint-34")
    finetune(
        folder,
        small_base,
        {
            "adamw": {"optim": "adamw_torch"},
            "dense": DENSE,
            "accumulated": DENSE
            | {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
            "bfloat16": OURS | FROZEN | {"adapter_dtype": "bfloat16"},
            "alone": OURS | FROZEN,
            "watched": OURS
            | FROZEN
            | {
                "eval_strategy": "steps",
                "eval_steps": 5,
                "save_strategy": "steps",
                "save_steps": 34,
            },
            "resumed": OURS | FROZEN | {"resume": checkpoint},
        },
    )
    return folder


def test_dense_at_every_step_it_is_adamw(ddp):
    """Also with the clipping of transformers' default, which is by the norm of the average."""
    assert losses(ddp / "dense") == pytest.approx(losses(ddp / "adamw"), rel=1e-4)
    ours, theirs = weights(ddp / "dense"), weights(ddp / "adamw")
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, atol=2e-3, rtol=2e-2)
    assert seen(ddp / "dense")["optim"] == "zero_one_adam"
    assert losses(ddp / "dense")[-1] < 0.95 * losses(ddp / "dense")[0]


def test_accumulated_batches_are_one_batch(ddp):
    assert losses(ddp / "accumulated") == pytest.approx(losses(ddp / "dense"), rel=3e-3)
    weights(ddp / "accumulated")


def test_evaluations_and_checkpoints_change_nothing(ddp):
    watched = seen(ddp / "watched")
    assert watched["frozen"]
    assert watched["interval"] == 4
    assert losses(ddp / "watched") == losses(ddp / "alone")
    assert same(weights(ddp / "watched"), weights(ddp / "alone"))
    assert watched["evaluations"] == seen(ddp / "watched", rank=1)["evaluations"]
    assert watched["evaluations"][-1] < 0.95 * watched["evaluations"][0]


def test_a_run_resumed_in_a_local_interval_is_the_run_to_the_bit(ddp):
    assert losses(ddp / "resumed")[-2:] == losses(ddp / "alone")[-2:]
    assert same(weights(ddp / "resumed"), weights(ddp / "alone"))


def test_weights_in_16_bits_learn_as_those_in_32(ddp):
    trained = weights(ddp / "bfloat16")
    assert all(weight.dtype == torch.bfloat16 for weight in trained.values())
    assert losses(ddp / "bfloat16") == pytest.approx(losses(ddp / "alone"), rel=2e-2)


def test_the_traffic_is_logged(ddp):
    logs = seen(ddp / "alone")["logs"]
    numbers = sum(weight.numel() for weight in weights(ddp / "alone").values())
    assert logs[19]["zero_one/dense_bytes"] == 20 * 4 * (numbers + 1)
    assert logs[19]["zero_one/one_bit_bytes"] == 0
    frozen = len(logs) - 20
    assert logs[-1]["zero_one/dense_bytes"] == logs[19]["zero_one/dense_bytes"]
    assert 0 < logs[-1]["zero_one/one_bit_bytes"] < 4 * numbers * frozen / 10


def test_deepspeed_keeps_every_process_s_state(tmp_path, small_base, ddp):
    settings = FROZEN | {"deepspeed": "zero_one_adam_bf16"}
    saving = {"save_strategy": "steps", "save_steps": 34}
    evaluating = {"eval_strategy": "steps", "eval_steps": 5}
    finetune(tmp_path, small_base, {"whole": settings | saving | evaluating})
    checkpoint = str(tmp_path / "whole" / "run" / "checkpoint-34")
    finetune(tmp_path, small_base, {"resumed": settings | {"resume": checkpoint}})
    assert seen(tmp_path / "whole")["optim"] == "zero_one_adam"
    assert losses(tmp_path / "whole") == pytest.approx(losses(ddp / "alone"), rel=5e-3)
    assert losses(tmp_path / "resumed")[-2:] == losses(tmp_path / "whole")[-2:]
    assert same(weights(tmp_path / "resumed"), weights(tmp_path / "whole"))
    shown = [seen(tmp_path / "whole", rank)["evaluated"] for rank in (0, 1)]
    assert len(shown[0]) == 8, "every fifth step, and the last"
    assert shown[0] == shown[1], "an evaluation sees the average of the processes' weights"


@pytest.mark.parametrize(
    ("file", "settings"),
    [
        ("optimizer.pt", OURS),
        # the best checkpoint is named in the middle of a save
        ("training_args.bin", {"eval_strategy": "steps", "eval_steps": 1} | BEST),
    ],
)
def test_a_full_disk_ends_both_processes_alike(tmp_path, small_base, file, settings):
    every = {"save_strategy": "steps", "save_steps": 1, "max_steps": 3, "ddp_timeout": 60}
    finetune(tmp_path, small_base, {"run": every | settings | {"full": file}})
    for rank in (0, 1):
        said = (tmp_path / "run" / f"{rank}.error").read_text("utf-8")
        assert said.startswith("DiskFullError: The disk is full:"), said
        assert "checkpoint-2' could not be written" in said
    assert [path.name for path in (tmp_path / "run" / "run").iterdir()] == ["checkpoint-1"]
