"""Real tweets on the embedded tiny base: majority, base and tuned side by side, over seeds.

    python benchmarks/tfns_tiny.py --data_dir DATA [--quick] [--json FILE] [--seeds 1 2 3]

Each seed is one whole run of the recipe, launched as a user launches it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import Row, report, table, write

RECIPE = "classification/tfns-tiny-4bit-r4"


def run(seed: int, *, data_dir: Path, quick: bool) -> dict[str, Any]:
    """Run the recipe once and return what its manifest tells of the task, and the cost."""
    with tempfile.TemporaryDirectory() as output:
        command = [
            str(Path(sys.executable).with_name("accelerate")),
            *("launch", "-m", "fin_qlora.recipes.classification"),
            *("--config", RECIPE, "--data_dir", str(data_dir)),
            *("--seed", str(seed), "--output_dir", output),
            *(("--max_steps", "60") if quick else ()),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        manifest: dict[str, Any] = json.loads(
            (Path(output) / "adapter" / "manifest.json").read_text("utf-8")
        )
    (task,) = manifest["tasks"]
    return {"cost": manifest["cost"], **task}


def main() -> None:
    """Measure, print the table and, where asked, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder that holds tfns/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="one run each")
    parser.add_argument("--quick", action="store_true", help="60 steps only: proves it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    arguments = parser.parse_args()

    manifests = [
        run(seed, data_dir=arguments.data_dir, quick=arguments.quick) for seed in arguments.seeds
    ]
    first = manifests[0]["evaluation"]
    rows = [Row("majority class", "accuracy", "share of 1", round(first["majority"], 4))]
    for side in ("base", "adapter"):
        for figure in ("accuracy", "weighted_f1"):
            values = [m["evaluation"][side][figure] for m in manifests]
            rows += [
                Row(side, f"{figure}, seed {seed}", "share of 1", round(value, 4))
                for seed, value in zip(arguments.seeds, values, strict=True)
            ]
            if len(values) > 1:
                mean = round(statistics.mean(values), 4)
                rows.append(Row(side, f"{figure}, mean", "share of 1", mean))
    for seed, manifest in zip(arguments.seeds, manifests, strict=True):
        cost = manifest["cost"]
        rows.append(Row("adapter", f"training, seed {seed}", "s", round(cost["train_seconds"], 1)))
    cost = manifests[0]["cost"]
    rows += [
        Row("adapter", "trained numbers", "count", cost["trainable_parameters"]),
        Row("adapter", "weights file", "bytes", cost["adapter_bytes"]),
        Row("adapter", "peak memory of the process", "bytes", cost["peak_memory_bytes"]),
        Row("data", "training rows", "count", manifests[0]["data"]["train_rows"]),
        Row("data", "evaluation rows", "count", manifests[0]["data"]["evaluation_rows"]),
    ]
    tuned = statistics.mean(m["evaluation"]["adapter"]["accuracy"] for m in manifests)
    base = statistics.mean(m["evaluation"]["base"]["accuracy"] for m in manifests)
    ratios = {
        "points over majority": round(100 * (tuned - first["majority"]), 2),
        "points over base": round(100 * (tuned - base), 2),
    }

    print(table(rows))
    for name, value in ratios.items():
        print(f"{name}: {value}")
    if arguments.json:
        packages = ("fin-qlora", "torch", "transformers", "trl", "peft", "bitsandbytes")
        finished = report(
            "tfns_tiny", rows, packages=packages, seed=arguments.seeds[0], ratios=ratios
        )
        seeds = " ".join(map(str, arguments.seeds))
        finished["command"] = f"python benchmarks/tfns_tiny.py --data_dir DATA --seeds {seeds}" + (
            " --quick" if arguments.quick else ""
        )
        write(arguments.json, finished)


if __name__ == "__main__":
    main()
