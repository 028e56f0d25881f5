"""Writing what a run leaves: the adapter's repository folder, whole or not at all."""

from __future__ import annotations

import datetime
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...evaluation import Evaluation, LabelScores
from ...evidence import write_manifest, write_record
from ...evidence.command import published_command
from ...evidence.cost import RunCost
from ...evidence.environment import machine, versions
from ...files import directory_in_place
from ...models.base import Quantization
from ...models.lora import WEIGHTS, save_weights, stored_weights, trainable_parameters
from ...models.sharded import askable
from ..checks.preflight import Preflight, TaskPreflight
from ..running.checkpoints import ResumePoint
from .recording import name_the_base, record_of

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """All that is known when training has ended.

    Args:
        configuration: JSON values.
        evaluations: name of each task -> (evaluation of the base, evaluation of the adapter).
    """

    preflight: Preflight
    model: PeftModel
    quantization: Quantization
    configuration: dict[str, Any]
    seed: int
    cost: RunCost
    evaluations: Mapping[str, tuple[Evaluation, Evaluation]]
    resumed: ResumePoint | None = None

    def write(self, folder: Path, *, writes: bool = True) -> None:
        """Write the adapter's folder: weights, tokenizer, record, results and manifest.

        Every process of a run must call, since some hold only a part of the model; the one that
        ``writes`` does.
        """
        state = stored_weights(self.model)  # FSDP shares out again what is told
        with askable(self.model):
            record = self._record()
        if not writes:
            return
        with directory_in_place(folder) as new:
            save_weights(self.model, new, state=state)
            name_the_base(new, self.preflight.base)
            self.preflight.tokenizer.save_pretrained(new)
            for task, sides in self.evaluations.items():
                for side, evaluation in zip(("base", "adapter"), sides, strict=True):
                    evaluation.write_rows(new / "eval" / f"{task}-{side}.parquet")
            write_record(new, record)
            write_manifest(new, self._manifest(adapter_bytes=(new / WEIGHTS).stat().st_size))

    def _record(self) -> dict[str, Any]:
        return record_of(
            self.model,
            self.preflight.tokenizer,
            {one.name: (one.contract, one.held_out.rows) for one in self.preflight.tasks},
            base=self.preflight.base,
            quantization=self.quantization,
        )

    def _manifest(self, *, adapter_bytes: int) -> dict[str, Any]:
        preflight = self.preflight
        return {
            "schema": 1,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "fin_qlora": __version__,
            "command": published_command(
                sys.argv, known={preflight.base.id} if preflight.base.revision else ()
            ),
            "tasks": [_evidence(one, *self.evaluations[one.name]) for one in preflight.tasks],
            "base": preflight.base.to_dict(),
            "configuration": self.configuration,
            "seed": self.seed,
            "versions": versions(),
            "machine": machine(),
            "cost": self._cost(adapter_bytes),
        }

    def _cost(self, adapter_bytes: int) -> dict[str, Any]:
        """Return the cost of the whole run; ``partial`` where that of an earlier part is lost."""
        figures = self.cost.to_dict(
            adapter_bytes=adapter_bytes, trainable=trainable_parameters(self.model)
        )
        if self.resumed is not None:
            figures |= {
                "resumed_from_step": self.resumed.step,
                "partial": not self.cost.known_from_the_start,
            }
        return figures


def _evidence(one: TaskPreflight, base: Evaluation, adapter: Evaluation) -> dict[str, Any]:
    """Return what the manifest tells of one task: its data, its prompt and its scores."""
    tables = (one.train, one.held_out)
    scores = adapter.scores
    labelled = {"confusion": scores.confusion} if isinstance(scores, LabelScores) else {}
    return {
        "task": one.name,
        "synthetic": one.task.synthetic,
        "licence": one.task.licence.name,
        "noncommercial": one.task.licence.noncommercial,
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
            "train_rows": len(one.train.rows),
            "evaluation_rows": len(one.held_out.rows),
            "dropped": dict(sum((Counter(table.dropped) for table in tables), Counter[str]())),
            "shortened": one.shortened,
        },
        "contract_digest": one.contract.digest,
        "evaluation": {
            "rows": scores.n,
            "majority": scores.majority,
            "base": base.figures(),
            "adapter": adapter.figures(),
            **labelled,
        },
    }
