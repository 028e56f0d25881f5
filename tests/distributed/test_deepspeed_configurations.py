"""Every shipped DeepSpeed configuration is trained with: two processes, gloo, a 4-bit base."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fin_qlora import FinSFTConfig
from fin_qlora.errors import EnvironmentFault
from fin_qlora.files import shipped

HERE = Path(__file__).resolve().parent
TORCHRUN = (
    *(str(Path(sys.executable).with_name("torchrun")), "--nproc_per_node", "2"),
    *("--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"),
)
SHIPPED = sorted(shipped("ds_configs").glob("*.json"))


def finetune(folder: Path, base: Path, settings: dict) -> list[dict]:
    """Train on two processes; return what each saw."""
    done = subprocess.run(
        [
            *(*TORCHRUN, str(HERE / "finetune.py")),
            *(str(folder), str(base), json.dumps({"run": settings})),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = []
    for rank in (0, 1):
        one = json.loads((folder / "run" / f"{rank}.json").read_text("utf-8"))
        one["losses"] = [entry["loss"] for entry in one["logs"]]
        one["weights"] = torch.load(folder / "run" / f"{rank}.pt")
        found.append(one)
    return found


@pytest.fixture(scope="module")
def ddp(tmp_path_factory, small_base) -> dict:
    return finetune(tmp_path_factory.mktemp("ddp"), small_base, {"optim": "adamw_torch"})[0]


@pytest.mark.parametrize(
    "path", [p for p in SHIPPED if p.stem.endswith("bf16")], ids=lambda path: path.stem
)
def test_two_ranks_learn_as_with_ddp_and_stay_equal(path, tmp_path, small_base, ddp):
    first, second = finetune(tmp_path, small_base, {"deepspeed": path.stem})
    assert first["losses"] == pytest.approx(ddp["losses"], rel=5e-3)
    assert first["losses"][-1] < 0.95 * first["losses"][0]
    assert first["weights"].keys() == second["weights"].keys()
    assert all(first["weights"][name].equal(second["weights"][name]) for name in first["weights"])
    wanted = json.loads(path.read_text("utf-8"))
    assert first["stage"] == wanted["zero_optimization"]["stage"]
    ours = wanted["optimizer"]["type"] == "ZeroOneAdam"
    assert (first["optim"] == "zero_one_adam") == ours


def test_fp16_is_refused_on_a_processor(tmp_path):
    with pytest.raises(EnvironmentFault, match="fp16, which DeepSpeed does only on a GPU"):
        FinSFTConfig(output_dir=str(tmp_path), deepspeed="zero_one_adam_fp16")


def test_what_ships():
    assert [path.stem for path in SHIPPED] == [
        "adamw_zero1_bf16",
        "adamw_zero2_bf16",
        "adamw_zero3_bf16",
        "zero_one_adam_bf16",
        "zero_one_adam_fp16",
    ]
