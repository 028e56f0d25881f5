"""Every row is read, encoded and checked before a weight moves."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.encode import EncodedRows, encode_rows
from ..data.table import Table, read_split, without_rows_of
from ..errors import ContractError, DiskFullError, UnknownLabelError
from ..models.base import BaseIdentity, load_tokenizer, locate_base
from ..prompts import PromptContract
from ..tasks import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Bytes that any run may write besides its weights: tokenizer, results and records.
ROOM = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What passed: the rows as they will be trained on, and the base that they were encoded for."""

    task: Task
    contract: PromptContract
    base: BaseIdentity
    base_folder: Path
    tokenizer: PreTrainedTokenizerBase
    train: Table
    held_out: Table
    encoded: EncodedRows

    def report(self) -> dict[str, Any]:
        """Return what a person wants to read before pressing go, as JSON values."""
        return {
            "task": self.task.name,
            "synthetic": self.task.synthetic,
            "base": self.base.to_dict(),
            "contract_digest": self.contract.digest,
            "train": _table_report(self.train),
            "evaluation": _table_report(self.held_out),
            "longest_row_tokens": self.encoded.longest,
            "mean_row_tokens": round(self.encoded.mean_length, 1),
            "trained_tokens": self.encoded.trained_tokens,
        }


def run_preflight(
    task: Task,
    contract: PromptContract,
    *,
    base: str,
    base_revision: str | None,
    data_dir: Path | None,
    synthetic_seed: int,
    max_length: int | None,
) -> Preflight:
    """Read and encode all rows for a base; raise at the first thing that would train wrong.

    Raises:
        DataError and its kinds: what is wrong with which row, and what to do.
    """
    held_out = read_split(task, "test", data_dir=data_dir, seed=synthetic_seed)
    train = without_rows_of(
        read_split(task, "train", data_dir=data_dir, seed=synthetic_seed), held_out
    )
    missing = set(task.label_names) - {row["label"] for row in train.rows}
    if missing:
        raise UnknownLabelError(
            f"No training row has the label {sorted(missing)}.",
            fix=f"Task '{task.name}' needs rows of every label.",
        )
    folder, identity = locate_base(base, revision=base_revision)
    tokenizer = load_tokenizer(folder)
    _check_answers(contract, tokenizer, folder)
    encoded = encode_rows(train.rows, contract=contract, tokenizer=tokenizer, max_length=max_length)
    encode_rows(held_out.rows, contract=contract, tokenizer=tokenizer, max_length=max_length)
    return Preflight(
        task=task,
        contract=contract,
        base=identity,
        base_folder=folder,
        tokenizer=tokenizer,
        train=train,
        held_out=held_out,
        encoded=encoded,
    )


def require_space(folder: Path, needed: int) -> None:
    """Raise DiskFullError when the disk of ``folder`` has less than ``needed`` bytes left."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise DiskFullError(
            f"The disk of '{folder}' has {free / 2**20:,.0f} MiB left; the run may need "
            f"{needed / 2**20:,.0f} MiB.",
            fix="Free some space or choose another output directory.",
        )


def room_for(trained: int = 0) -> int:
    """Return the bytes that a run which trains so many numbers may write before it ends."""
    # 16 each: float32 weights and two moments in a checkpoint, the adapter, and some more
    return ROOM + 16 * trained


def _check_answers(
    contract: PromptContract, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    answers = {label: tuple(contract.answer(tokenizer, label)) for label in contract.labels}
    unknown = tokenizer.unk_token_id
    for label, ids in answers.items():
        if unknown is not None and unknown in ids:
            raise ContractError(f"The tokenizer cannot write the label '{label}'.")
    if len(set(answers.values())) < len(answers):
        raise ContractError("Two labels have the same token ids.")
    settings = folder / "generation_config.json"
    if settings.is_file():
        stops = json.loads(settings.read_text(encoding="utf-8")).get("eos_token_id")
        stops = {stops} if isinstance(stops, int) else set(stops or ())
        end = contract.end_token(tokenizer)
        if stops and end not in stops:
            raise ContractError(
                f"Answers would end in {tokenizer.convert_ids_to_tokens(end)!r}, but the base's "
                "generation_config.json does not stop there.",
                fix="Add its id to eos_token_id, or use the other prompt form.",
            )


def _table_report(table: Table) -> dict[str, Any]:
    return {
        "file": table.file.path,
        "sha256": table.file.sha256,
        "rows": len(table.rows),
        "partial_file": table.file.partial,
        "dropped": table.dropped,
        "labels": dict(sorted(Counter(row["label"] for row in table.rows).items())),
    }
