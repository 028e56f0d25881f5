"""The shipped profile for two CPU processes really starts two that can talk to each other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fin_qlora import files

ACCELERATE = str(Path(sys.executable).with_name("accelerate"))
PROGRAM = """
import json, sys
import torch
from accelerate import PartialState

state = PartialState(cpu=True)
total = torch.tensor([float(state.process_index + 1)])
torch.distributed.all_reduce(total)
backend = torch.distributed.get_backend()
seen = {"size": state.num_processes, "backend": backend, "sum": total.item()}
with open(f"{sys.argv[1]}/{state.process_index}.json", "w") as stream:
    json.dump(seen, stream)
state.destroy_process_group()
"""


@pytest.mark.parametrize("profile", ["cpu-ddp-2"])
def test_two_ranks_add_up(profile, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    path = files.shipped("recipes") / "accelerate" / f"{profile}.yaml"
    result = subprocess.run(
        [ACCELERATE, "launch", "--config_file", str(path), str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    seen = [json.loads(file.read_text("utf-8")) for file in sorted(tmp_path.glob("*.json"))]
    assert seen == [{"size": 2, "backend": "gloo", "sum": 3.0}] * 2
