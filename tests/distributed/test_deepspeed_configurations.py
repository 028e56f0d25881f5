"""Every shipped DeepSpeed configuration trains, as the transformers trainer would hand it over."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fin_qlora import files

TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
PROGRAM = """
import json, sys
import deepspeed
import torch
from transformers import TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

configuration, folder = sys.argv[1:]
arguments = TrainingArguments(
    output_dir=folder, use_cpu=True, bf16=True, per_device_train_batch_size=2,
    gradient_accumulation_steps=2, learning_rate=0.05, max_grad_norm=1.0, report_to="none",
)
filled = HfTrainerDeepSpeedConfig(configuration)
filled.trainer_config_process(arguments)
filled.trainer_config_finalize(arguments, model=None, num_training_steps=8)

deepspeed.init_distributed("gloo")
torch.manual_seed(0)
model = torch.nn.Linear(8, 1, bias=False)
target = torch.ones(1, 8, dtype=torch.bfloat16)
engine, optimizer, _, _ = deepspeed.initialize(model=model, config=filled.config)
losses = []
generator = torch.Generator().manual_seed(torch.distributed.get_rank())
for _ in range(60):
    rows = torch.randn(2, 8, generator=generator).bfloat16()
    loss = (engine(rows) - rows @ target.T).float().pow(2).mean()
    losses.append(loss.item())
    engine.backward(loss)
    engine.step()
seen = {
    "first": sum(losses[:6]), "last": sum(losses[-6:]),
    "stage": engine.zero_optimization_stage(), "world": engine.world_size,
    "optimizer": type(engine.basic_optimizer).__qualname__,
    "batch": engine.train_batch_size(), "weight": engine.module.weight.float().tolist(),
}
with open(f"{folder}/{torch.distributed.get_rank()}.json", "w") as stream:
    json.dump(seen, stream)
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    "path", sorted(files.shipped("ds_configs").glob("*.json")), ids=lambda path: path.stem
)
def test_two_ranks_learn_and_stay_equal(path, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    result = subprocess.run(
        [TORCHRUN, "--nproc_per_node", "2", str(program), str(path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text("utf-8")) for rank in (0, 1))
    assert first["weight"] == second["weight"]
    assert first["last"] + second["last"] < 0.2 * (first["first"] + second["first"])
    wanted = json.loads(path.read_text("utf-8"))
    assert first["stage"] == wanted["zero_optimization"]["stage"]
    assert first["optimizer"] == wanted["optimizer"]["type"]
    assert (first["world"], first["batch"]) == (2, 8)
