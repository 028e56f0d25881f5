"""Every row is read, encoded and checked before a weight moves."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.encode import EncodedRows, encode_rows
from ..data.encode_cache import EncodedCache
from ..data.table import Table, read_split, without_rows_of
from ..errors import ContractError, DiskFullError, UnknownLabelError, UsageError
from ..models.base import BaseIdentity, load_tokenizer, locate_base
from ..prompts import OnOverlong, PromptContract, choose_shots, without_shots
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
    encoded_held_out: EncodedRows

    @property
    def shortened(self) -> dict[str, dict[str, int]]:
        """Return, for each split, how many rows were shortened and what they lost."""
        return {
            "train": self.encoded.shortened,
            "evaluation": self.encoded_held_out.shortened,
        }

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
            "shots": len(self.contract.shots),
            "shortened": self.shortened,
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
    on_overlong: OnOverlong = "raise",
    shots: int = 0,
    shots_seed: int = 0,
    cache: EncodedCache | None = None,
) -> Preflight:
    """Read and encode all rows for a base; raise at the first thing that would train wrong.

    Args:
        contract: as the task gives it; the one in the result also holds what follows.
        on_overlong: what to do with a row of more than ``max_length`` tokens.
        shots: worked examples in every prompt, drawn from the training rows by ``shots_seed``;
            these rows are not trained on.
        cache: where encoded rows are kept between runs.

    Raises:
        DataError and its kinds: what is wrong with which row, and what to do.
    """
    held_out = read_split(task, "test", data_dir=data_dir, seed=synthetic_seed)
    train = without_rows_of(
        read_split(task, "train", data_dir=data_dir, seed=synthetic_seed), held_out, task=task
    )
    if shots:
        chosen = choose_shots(contract, train.rows, count=shots, seed=shots_seed)
        contract = replace(contract, shots=chosen)
        train = _with_rows(train, without_shots(contract, train.rows), "is a shot in the prompt")
    if on_overlong == "shorten":
        if max_length is None:
            raise UsageError("on_overlong is shorten without max_length.", fix="Set both.")
        contract = replace(contract, shorten_to=max_length)
    missing = set(task.label_names) - {row["label"] for row in train.rows}
    if missing:
        raise UnknownLabelError(
            f"No training row has the label {sorted(missing)}.",
            fix=f"Task '{task.name}' needs rows of every label.",
        )
    folder, identity = locate_base(base, revision=base_revision)
    tokenizer = load_tokenizer(folder)
    _check_answers(contract, tokenizer, folder)

    def encode(table: Table) -> tuple[Table, EncodedRows]:
        encoded = encode_rows(
            table.rows,
            contract=contract,
            tokenizer=tokenizer,
            max_length=max_length,
            on_overlong=on_overlong,
            cache=cache,
        )
        fitting = [table.rows[i] for i in encoded.kept] if encoded.dropped else table.rows
        return _with_rows(table, fitting, f"longer than {max_length} tokens"), encoded

    train, encoded = encode(train)
    held_out, encoded_held_out = encode(held_out)
    return Preflight(
        task=task,
        contract=contract,
        base=identity,
        base_folder=folder,
        tokenizer=tokenizer,
        train=train,
        held_out=held_out,
        encoded=encoded,
        encoded_held_out=encoded_held_out,
    )


def _with_rows(table: Table, rows: list[dict[str, str]], reason: str) -> Table:
    """Return the table with fewer rows, those that are gone counted under ``reason``."""
    gone = len(table.rows) - len(rows)
    return replace(table, rows=rows, dropped=table.dropped | {reason: gone}) if gone else table


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
    answers = contract.answers(tokenizer, contract.labels)
    for label, ids in zip(contract.labels, answers, strict=True):
        if contract.decode(tokenizer, ids) != label:
            raise ContractError(
                f"The tokenizer cannot write the label '{label}': it reads it back as "
                f"{tokenizer.decode(ids[:-1])!r}.",
                fix="Use another base, or another word for the label.",
            )
    if len(set(map(tuple, answers))) < len(answers):
        raise ContractError("Two labels have the same token ids.")
    settings = folder / "generation_config.json"
    stops: set[int] = set()
    if settings.is_file():
        named = json.loads(settings.read_text(encoding="utf-8")).get("eos_token_id")
        stops = {named} if isinstance(named, int) else set(named or ())
    end = contract.stop_tokens(tokenizer, also=stops)[0]
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
