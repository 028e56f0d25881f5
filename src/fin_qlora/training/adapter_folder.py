"""Writing what a run leaves: the adapter's repository folder, whole or not at all."""

from __future__ import annotations

import datetime
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..evaluation import Evaluation
from ..evidence import write_manifest, write_record
from ..evidence.command import published_command
from ..evidence.cost import CostMeter
from ..evidence.environment import machine, versions
from ..files import directory_in_place, write_json
from ..models.base import Quantization
from ..models.lora import WEIGHTS, save_weights, trainable_parameters
from .canaries import record_canaries
from .checkpoints import ResumePoint
from .preflight import Preflight

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """All that is known when training has ended; ``configuration`` holds JSON values."""

    preflight: Preflight
    model: PeftModel
    quantization: Quantization
    configuration: dict[str, Any]
    seed: int
    cost: CostMeter
    gpus: int
    base_evaluation: Evaluation
    adapter_evaluation: Evaluation
    resumed: ResumePoint | None = None

    def write(self, folder: Path) -> None:
        """Write the adapter's folder: weights, tokenizer, record, results and manifest."""
        task = self.preflight.task.name
        with directory_in_place(folder) as new:
            save_weights(self.model, new)
            _name_the_base(new, self.preflight)
            self.preflight.tokenizer.save_pretrained(new)
            for side, evaluation in (
                ("base", self.base_evaluation),
                ("adapter", self.adapter_evaluation),
            ):
                evaluation.write_rows(new / "eval" / f"{task}-{side}.parquet")
            write_record(new, self._record())
            write_manifest(new, self._manifest(adapter_bytes=(new / WEIGHTS).stat().st_size))

    def _record(self) -> dict[str, Any]:
        preflight = self.preflight
        return {
            "schema": 1,
            "task": preflight.task.name,
            "contract": preflight.contract.to_dict(),
            "contract_digest": preflight.contract.digest,
            "base": preflight.base.to_dict(),
            "quantization": self.quantization,
            "canaries": record_canaries(
                self.model, preflight.tokenizer, preflight.contract, preflight.held_out.rows
            ),
        }

    def _manifest(self, *, adapter_bytes: int) -> dict[str, Any]:
        preflight = self.preflight
        tables = (preflight.train, preflight.held_out)
        dropped: dict[str, int] = {}
        for table in tables:
            for reason, count in table.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
        scores = self.adapter_evaluation.scores
        return {
            "schema": 1,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "fin_qlora": __version__,
            "command": published_command(
                sys.argv, known={preflight.base.id} if preflight.base.revision else ()
            ),
            "task": preflight.task.name,
            "synthetic": preflight.task.synthetic,
            "licence": preflight.task.licence.name,
            "noncommercial": preflight.task.licence.noncommercial,
            "base": preflight.base.to_dict(),
            "data": {
                "files": [
                    {
                        "path": file.path,
                        "sha256": file.sha256,
                        "rows": file.rows,
                        "partial": file.partial,
                    }
                    for table in tables
                    for file in table.files
                ],
                "train_rows": len(preflight.train.rows),
                "evaluation_rows": len(preflight.held_out.rows),
                "dropped": dropped,
                "shortened": preflight.shortened,
            },
            "contract_digest": preflight.contract.digest,
            "configuration": self.configuration,
            "seed": self.seed,
            "versions": versions(),
            "machine": machine(),
            "cost": self._cost(adapter_bytes),
            "evaluation": {
                "rows": scores.n,
                "majority": scores.majority,
                "base": _figures(self.base_evaluation),
                "adapter": _figures(self.adapter_evaluation),
                "confusion": scores.confusion,
            },
        }

    def _cost(self, adapter_bytes: int) -> dict[str, Any]:
        """Return the cost of the whole run; ``partial`` where the time before is not known."""
        resumed = self.resumed
        earlier = resumed.seconds if resumed is not None else None
        whole = replace(self.cost, seconds=self.cost.seconds + (earlier or 0.0))
        figures = whole.to_dict(
            gpus=self.gpus,
            adapter_bytes=adapter_bytes,
            trainable=trainable_parameters(self.model),
        )
        if resumed is not None:
            figures |= {"resumed_from_step": resumed.step, "partial": earlier is None}
        return figures


def _figures(evaluation: Evaluation) -> dict[str, float]:
    return {
        "accuracy": evaluation.scores.accuracy,
        "weighted_f1": evaluation.scores.weighted_f1,
        "seconds_per_example": evaluation.seconds_per_example,
    }


def _name_the_base(folder: Path, preflight: Preflight) -> None:
    """Put the hub id and commit of the base where PEFT wrote the local folder's path."""
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = preflight.base.id
    config["revision"] = preflight.base.revision
    if isinstance(config.get("target_modules"), list):
        config["target_modules"] = sorted(config["target_modules"])
    write_json(path, config)
