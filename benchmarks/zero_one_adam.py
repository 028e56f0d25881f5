"""0/1 Adam against AdamW: the tiny TFNS recipe on two processes, its final loss and its traffic.

    python benchmarks/zero_one_adam.py --data_dir DATA [--local_steps 4 1] [--quick] [--json FILE]

Each side is one whole run of the recipe on two processes of this machine's CPU, on the same rows in
the same order; 0/1 Adam once for each number of steps that processes may go without averaging when
the variance is frozen (1: they average after every step). The final loss is the mean over the last
tenth of the steps. Traffic is what one process sends: counted in the optimizer for 0/1 Adam, and
for AdamW what averaging every gradient in float32 in a ring sends. The same for the adapter of
Llama 3.1 8B at rank 4 is computed from its shapes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from report import Row, report, table, write

from fin_qlora.files import shipped
from fin_qlora.training import FinSFTConfig
from fin_qlora.training.optimizers.one_bit import Layout
from fin_qlora.training.optimizers.zero_one_training import schedule

RECIPE = "classification/tfns-tiny-4bit-r4"
PROCESSES = 2

#: Layers, hidden size and width of keys and values of Llama 3.1 8B; rank 4 on q, k and v.
LAYERS, HIDDEN, NARROW, RANK = 32, 4096, 1024, 4


@dataclass(frozen=True)
class Side:
    """One run: the logged losses by step, its bytes by step, and the adapter's scores."""

    losses: list[tuple[int, float]]
    dense: list[int]
    one_bit: list[int]
    steps: int
    manifest: dict[str, Any]

    @property
    def final(self) -> float:
        """The mean loss of the last tenth of the steps."""
        return statistics.mean(loss for step, loss in self.losses if step > 0.9 * self.steps)


def run(optimizer: str, *further: str, data_dir: Path, seed: int, quick: bool) -> Side:
    """Run the recipe once, under further settings, and return what it left."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file"),
            str(shipped("recipes") / "accelerate" / "cpu-ddp-2.yaml"),
            *("-m", "fin_qlora.recipes.classification", "--config", RECIPE),
            *("--data_dir", str(data_dir), "--seed", str(seed), "--output_dir", output),
            *("--optim", optimizer, *further, "--use_cpu", "true", "--cpu_threads", "1"),
            *("--logging_steps", "1", "--save_strategy", "epoch", "--save_total_limit", "1"),
            *(("--max_steps", "60", "--warmup_steps", "5") if quick else ()),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (state,) = Path(output).glob("checkpoint-*/trainer_state.json")
        logs = [
            entry
            for entry in json.loads(state.read_text("utf-8"))["log_history"]
            if "loss" in entry
        ]
        manifest = json.loads((Path(output) / "adapter" / "manifest.json").read_text("utf-8"))
    return Side(
        losses=[(entry["step"], entry["loss"]) for entry in logs],
        dense=[entry.get("zero_one/dense_bytes", 0) for entry in logs],
        one_bit=[entry.get("zero_one/one_bit_bytes", 0) for entry in logs],
        steps=logs[-1]["step"],
        manifest=manifest,
    )


def large_message(processes: int) -> tuple[int, int]:
    """Return the bytes a process sends for one step of Llama 3.1 8B: averaged in full, in bits."""
    sizes = [
        size
        for _ in range(LAYERS)
        for width in (HIDDEN, NARROW, NARROW)
        for size in (RANK * HIDDEN, width * RANK)
    ]
    layout = Layout(sizes, world=processes, rank=0, device=torch.device("cpu"))
    dense = 2 * (processes - 1) * 4 * sum(sizes) // processes
    return dense, 2 * (processes - 1) * layout.message_bytes


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder that holds tfns/")
    parser.add_argument("--local_steps", type=int, nargs="+", default=[4, 1], metavar="N")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--quick", action="store_true", help="60 steps only: proves it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()

    same = {name: getattr(arguments, name) for name in ("data_dir", "seed", "quick")}
    adamw = run("adamw_torch", **same)
    numbers = adamw.manifest["cost"]["trainable_parameters"]
    step_bytes = 2 * (PROCESSES - 1) * 4 * numbers // PROCESSES
    rows = [
        *_quality("adamw_torch", adamw),
        Row("adamw_torch", "sent by a process in the run", "bytes", step_bytes * adamw.steps),
        Row("adamw_torch", "sent in a step", "bytes", step_bytes),
    ]
    ratios: dict[str, float] = {}
    for most in arguments.local_steps:
        side = f"zero_one_adam, averaging every {most} at most" if most > 1 else "zero_one_adam"
        ours = run("zero_one_adam", "--zero_one_local_step_clipper", str(most), **same)
        frozen = schedule(FinSFTConfig(optim="zero_one_adam"), ours.steps).var_freeze_step
        # with the checkpoints, for which the weights are averaged in full
        sent = [sum(both) for both in zip(ours.dense, ours.one_bit, strict=True)]
        after = (sent[-1] - sent[frozen - 1]) / (ours.steps - frozen)
        rows += [
            *_quality(side, ours),
            Row(side, "sent by a process in the run", "bytes", sent[-1]),
            Row(side, "last refreshment of the variance", "step", frozen),
            Row(side, "sent in a step after the freeze, mean", "bytes", round(after)),
        ]
        ratios |= {
            f"{side}: final loss over AdamW's": round(ours.final / adamw.final, 4),
            f"{side}: bytes after the freeze over AdamW's": round(after / step_bytes, 4),
            f"{side}: bytes of the run over AdamW's": round(
                sent[-1] / (step_bytes * adamw.steps), 4
            ),
        }
    large, bits = large_message(8)
    rows += [
        Row("adamw_torch", "8B r4, 8 processes: sent in a step (computed)", "bytes", large),
        Row("zero_one_adam", "8B r4, 8 processes: sent in an average (computed)", "bytes", bits),
    ]
    ratios["8B r4, 8 processes: bytes of an average over AdamW's"] = round(bits / large, 4)
    print(table(rows))
    for figure, value in ratios.items():
        print(f"{figure}: {value}")
    if arguments.json:
        packages = ("fin-qlora", "torch", "transformers", "trl", "peft", "bitsandbytes")
        finished = report(
            "zero_one_adam", rows, packages=packages, seed=arguments.seed, ratios=ratios
        )
        finished["command"] = (
            f"python benchmarks/zero_one_adam.py --data_dir DATA --seed {arguments.seed} "
            f"--local_steps {' '.join(map(str, arguments.local_steps))}"
            + (" --quick" if arguments.quick else "")
        )
        write(arguments.json, finished)


def _quality(name: str, side: Side) -> list[Row]:
    """Return the final loss of a side, and how its adapter scores on the test rows."""
    return [
        Row(name, "final loss", "nats per token", round(side.final, 5)),
        *(
            Row(name, figure, "share of 1", round(value, 4))
            for figure, value in _scores(side.manifest).items()
        ),
        Row(name, "steps", "count", side.steps),
    ]


def _scores(manifest: dict[str, Any]) -> dict[str, float]:
    """Return accuracy and weighted F1 of the adapter on the one task of the run."""
    evaluation = manifest["tasks"][0]["evaluation"]["adapter"]
    return {name: float(evaluation[name]) for name in ("accuracy", "weighted_f1")}


if __name__ == "__main__":
    main()
