"""A base that two processes share out as FSDP does answers as it does whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))


def test_a_shared_out_model_answers_as_the_whole_one(tmp_path, small_base):
    done = subprocess.run(
        [
            *(TORCHRUN, "--nproc_per_node", "2", "--rdzv_backend", "c10d"),
            *("--rdzv_endpoint", "127.0.0.1:0", str(HERE / "sharded_processes.py")),
            *(str(tmp_path), str(small_base)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        whole, shared = found["whole"], found["shared"]
        assert (whole["sharded"], shared["sharded"]) == (False, True)
        for side in ("tuned", "base"):
            for one, other in zip(whole[side], shared[side], strict=True):
                assert one == pytest.approx(other, abs=1e-3)
        assert whole["tuned"] != whole["base"]
        assert shared["likely"] == pytest.approx(whole["likely"], abs=1e-2)
        assert shared["written"] == whole["written"]
        assert shared["weights"].keys() == whole["weights"].keys()
        assert all(shared["weights"][name].equal(kept) for name, kept in whole["weights"].items())
