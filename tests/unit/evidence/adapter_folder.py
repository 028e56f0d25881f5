"""An adapter folder as training leaves it, without training."""

from __future__ import annotations

import json
from pathlib import Path

from fin_qlora.evidence import write_manifest, write_record
from fin_qlora.models.base import weights_digest
from fin_qlora.tasks import Task, get


def write_base(folder: Path, *, weights: bytes = b"weights of the base") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def base_identity(base: Path, *, name: str = "demo/base", revision: str | None = None) -> dict:
    return {"id": name, "revision": revision, "digest": weights_digest(base)}


def write_adapter(
    folder: Path,
    *,
    base: dict,
    task: str = "synthetic_ner",
    further: tuple[str, ...] = (),
    noncommercial: bool = False,
) -> Path:
    """Write a complete adapter folder on the base of that identity, for one task or several."""
    tasks = [get(name) for name in (task, *further)]
    (folder / "eval").mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights of the adapter")
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": base["id"], "revision": base["revision"], "r": 4})
    )
    (folder / "tokenizer.json").write_text("{}")
    for one in tasks:
        for side in ("base", "adapter"):
            (folder / "eval" / f"{one.name}-{side}.parquet").write_bytes(b"PAR1 " + side.encode())
    write_record(folder, record(*tasks, base=base))
    write_manifest(folder, manifest(*tasks, base=base, noncommercial=noncommercial))
    return folder


def record(*tasks: Task, base: dict) -> dict:
    return {
        "schema": 1,
        "tasks": [
            {
                "task": task.name,
                "contract": task.contract().to_dict(),
                "contract_digest": task.contract().digest,
                "canaries": [canary(task)],
            }
            for task in tasks
        ],
        "base": base,
        "quantization": "4bit",
    }


def canary(task: Task) -> dict:
    given = dict.fromkeys(task.contract().fields, "Ada")
    if task.answer != "label":
        return {
            "input": given,
            "label": "us-gaap:Assets",
            "base_log_likelihood": -5.5,
            "adapter_log_likelihood": -0.25,
            "adapter_answer": "us-gaap:Assets",
        }
    scores = dict.fromkeys(task.label_names, 1 / len(task.label_names))
    return {
        "input": given,
        "label": task.label_names[0],
        "base_scores": scores,
        "adapter_scores": scores,
    }


def manifest(*tasks: Task, base: dict, noncommercial: bool = False) -> dict:
    return {
        "schema": 1,
        "created": "2026-11-20T09:00:00+00:00",
        "fin_qlora": "0.1.0",
        "command": ["classification.py", "--config", "classification/x"],
        "tasks": [trained(task, noncommercial=noncommercial) for task in tasks],
        "base": base,
        "configuration": {"quantization": "4bit", "lora_r": 4, "learning_rate": 0.002},
        "seed": 7,
        "versions": {"torch": "2.13.0"},
        "machine": {"cores": 2},
        "cost": {
            "train_seconds": 61.5,
            "gpu_hours": 0.0,
            "peak_memory_bytes": 2**30,
            "adapter_bytes": 61_440,
            "trainable_parameters": 30_720,
        },
    }


def trained(task: Task, *, noncommercial: bool = False) -> dict:
    digest = "ab" * 32
    return {
        "task": task.name,
        "synthetic": task.synthetic,
        "licence": task.licence.name,
        "noncommercial": noncommercial,
        "data": {
            "files": [
                {"path": "train.csv", "sha256": digest, "rows": 900, "partial": False},
                {"path": "test.csv", "sha256": digest, "rows": 300, "partial": False},
            ],
            "train_rows": 890,
            "evaluation_rows": 300,
            "dropped": {"also in evaluation": 10},
        },
        "contract_digest": task.contract().digest,
        "evaluation": {
            "rows": 300,
            "majority": 0.41,
            **{
                side: figures(task, right, f1)
                for side, right, f1 in (("base", 99, 0.31), ("adapter", 273, 0.905))
            },
        },
    }


def figures(task: Task, right: int, f1: float) -> dict:
    """Return the figures of 300 answers, so many of them right."""
    shared = {"accuracy": right / 300, "seconds_per_example": 0.01}
    if task.answer == "label":
        return shared | {"weighted_f1": f1}
    wrong = {"rounded": 0, "scale": 20, "sign": 0, "wrong": 0, "none": 280 - right}
    metrics = dict.fromkeys([name for name in task.metrics if name != "accuracy"], f1)
    return shared | {
        "metrics": metrics,
        "outcomes": {"exact": right, **wrong},
        "unfinished": 4,
    }
