"""An adapter folder as training leaves it, without training."""

from __future__ import annotations

import json
from pathlib import Path

from fin_qlora.evidence import write_manifest, write_record
from fin_qlora.models.base import weights_digest
from fin_qlora.tasks import get


def write_base(folder: Path, *, weights: bytes = b"weights of the base") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def base_identity(base: Path, *, name: str = "demo/base", revision: str | None = None) -> dict:
    return {"id": name, "revision": revision, "digest": weights_digest(base)}


def write_adapter(
    folder: Path, *, base: dict, task: str = "synthetic_ner", noncommercial: bool = False
) -> Path:
    """Write a complete adapter folder on the base of that identity."""
    chosen = get(task)
    contract = chosen.contract()
    (folder / "eval").mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights of the adapter")
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": base["id"], "revision": base["revision"], "r": 4})
    )
    (folder / "tokenizer.json").write_text("{}")
    (folder / "eval" / f"{task}-base.parquet").write_bytes(b"PAR1 base")
    (folder / "eval" / f"{task}-adapter.parquet").write_bytes(b"PAR1 adapter")
    write_record(folder, record(base=base, contract=contract, task=task))
    write_manifest(
        folder,
        manifest(base=base, contract=contract, task=chosen) | {"noncommercial": noncommercial},
    )
    return folder


def record(*, base: dict, contract, task: str) -> dict:
    scores = dict.fromkeys(contract.labels, 1 / len(contract.labels))
    return {
        "schema": 1,
        "task": task,
        "contract": contract.to_dict(),
        "contract_digest": contract.digest,
        "base": base,
        "quantization": "4bit",
        "canaries": [
            {
                "input": {"text": "Ada signed.", "entity": "Ada"},
                "label": contract.labels[0],
                "base_scores": scores,
                "adapter_scores": scores,
            }
        ],
    }


def manifest(*, base: dict, contract, task) -> dict:
    digest = "ab" * 32
    return {
        "schema": 1,
        "created": "2026-11-20T09:00:00+00:00",
        "fin_qlora": "0.1.0",
        "command": ["classification.py", "--config", "classification/x"],
        "task": task.name,
        "synthetic": task.synthetic,
        "licence": task.licence.name,
        "noncommercial": False,
        "base": base,
        "data": {
            "files": [
                {"path": "train.csv", "sha256": digest, "rows": 900, "partial": False},
                {"path": "test.csv", "sha256": digest, "rows": 300, "partial": False},
            ],
            "train_rows": 890,
            "evaluation_rows": 300,
            "dropped": {"also in evaluation": 10},
        },
        "contract_digest": contract.digest,
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
        "evaluation": {
            "rows": 300,
            "majority": 0.41,
            "base": {"accuracy": 0.33, "weighted_f1": 0.31, "seconds_per_example": 0.01},
            "adapter": {"accuracy": 0.91234567, "weighted_f1": 0.905, "seconds_per_example": 0.01},
            "confusion": {},
        },
    }
