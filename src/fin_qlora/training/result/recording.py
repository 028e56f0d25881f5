"""An adapter's folder: weights, tokenizer, and the record of prompts, base and canaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...evidence import RECORD, write_record
from ...files import directory_in_place, write_json
from ...models.base import BaseIdentity, Quantization, locate_base
from ...models.lora import in_stored_precision, save_weights, stored_weights
from ...models.sharded import askable, keep_adapter_whole
from .canaries import Asked, record_canaries

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from ..trainer import FinSFTTrainer


def record_adapter(
    trainer: FinSFTTrainer,
    folder: str | Path,
    *,
    tasks: Mapping[str, Asked],
    base: str,
    base_revision: str | None = None,
    quantization: Quantization,
) -> None:
    """Write what a trainer has trained as a folder that ``load_adapter`` opens and checks.

    Every process must call it; the first one writes, the whole folder or nothing of it. The trained
    weights are rounded to the precision of the file: training does not go on afterwards.

    Args:
        folder: one that holds an adapter with its record is replaced, another is not.
        tasks: name of each task -> (its contract, rows that were not trained on: the contract's
            fields and ``label``). Eight rows over all tasks become the canaries.
        base: folder or hub id that the base was loaded from.
        base_revision: its branch, tag or commit.
        quantization: what ``load_model`` was given.

    Raises:
        UsageError: no task, or one without a row; or ``folder`` holds something else.
        MissingFileError: the base has no weights.
    """
    empty = [name for name, (_, rows) in tasks.items() if not rows]
    if not tasks or empty:
        what = f"The task '{empty[0]}' has no row" if empty else "There is no task"
        raise UsageError(f"{what} to record.", fix="Give each task rows with their labels.")
    _, identity = locate_base(base, revision=base_revision)
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    tokenizer: Any = trainer.processing_class
    keep_adapter_whole(model)
    in_stored_precision(model)
    with trainer.run.together():
        state = stored_weights(model)  # FSDP shares out again what is told
        with askable(model):
            record = record_of(model, tokenizer, tasks, base=identity, quantization=quantization)
        if trainer.accelerator.is_main_process:
            with directory_in_place(Path(folder), known_by=RECORD) as new:
                save_weights(model, new, state=state)
                name_the_base(new, identity)
                tokenizer.save_pretrained(new)
                write_record(new, record)
        trainer.accelerator.wait_for_everyone()


def record_of(
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Mapping[str, Asked],
    *,
    base: BaseIdentity,
    quantization: Quantization,
) -> dict[str, Any]:
    """Return what ``fin_qlora.json`` holds: every task's contract and canaries, and the base."""
    canaries = record_canaries(model, tokenizer, tasks)
    return {
        "schema": 1,
        "tasks": [
            {
                "task": name,
                "contract": contract.to_dict(),
                "contract_digest": contract.digest,
                "canaries": canaries[name],
            }
            for name, (contract, _) in tasks.items()
        ],
        "base": base.to_dict(),
        "quantization": quantization,
    }


def name_the_base(folder: Path, base: BaseIdentity) -> None:
    """Put the hub id and commit of the base where PEFT wrote the local folder's path."""
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base.id
    config["revision"] = base.revision
    if isinstance(config.get("target_modules"), list):
        config["target_modules"] = sorted(config["target_modules"])
    write_json(path, config)
