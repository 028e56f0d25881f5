"""Every row is read, encoded and checked before a weight moves."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow

from ...data.encode import EncodedRows, encode_rows
from ...data.encode_cache import EncodedCache
from ...data.joint import read_together
from ...data.table import Table
from ...errors import DiskFullError, UnknownLabelError, UsageError
from ...models.base import BaseIdentity, load_tokenizer, locate_base
from ...prompts import OnOverlong, PromptContract, choose_shots, without_shots
from ...tasks import Task
from .recheck import (
    check_answer_room,
    check_gold,
    check_labels_and_stop,
    check_trained_tokens,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Bytes that any run may write besides its weights: tokenizer, results and records.
ROOM = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class TaskPreflight:
    """One task's rows as they will be trained and evaluated on, and the prompt that asks them."""

    task: Task
    contract: PromptContract
    train: Table
    held_out: Table
    encoded: EncodedRows
    encoded_held_out: EncodedRows

    @property
    def name(self) -> str:
        """Return the task's name."""
        return self.task.name

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
            "licence": self.task.licence.name,
            "noncommercial": self.task.licence.noncommercial,
            "contract_digest": self.contract.digest,
            "train": _table_report(self.train, self.task),
            "evaluation": _table_report(self.held_out, self.task),
            "longest_row_tokens": self.encoded.longest,
            "mean_row_tokens": round(self.encoded.mean_length, 1),
            "trained_tokens": self.encoded.trained_tokens,
            "shots": len(self.contract.shots),
            "shortened": self.shortened,
        }


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What passed: the rows of every task, and the base that they were encoded for."""

    tasks: tuple[TaskPreflight, ...]
    base: BaseIdentity
    base_folder: Path
    tokenizer: PreTrainedTokenizerBase

    @property
    def rows(self) -> int:
        """Return the number of training rows of all tasks."""
        return sum(len(one.train.rows) for one in self.tasks)

    @property
    def positions(self) -> int | None:
        """Return the number of tokens that the base was made for, where its config.json says so."""
        config = json.loads((self.base_folder / "config.json").read_text(encoding="utf-8"))
        found = config.get("max_position_embeddings")
        return found if isinstance(found, int) else None

    def training_columns(self) -> dict[str, Any]:
        """Return ``input_ids``, ``labels`` (-100 on the prompt) and ``task`` of all training rows.

        They are Arrow columns, one line a row, task after task. A single task is not named.
        """
        parts = [one.encoded.training_columns() for one in self.tasks]
        if len(parts) == 1:
            return parts[0]
        names = [pyarrow.repeat(one.name, len(one.train.rows)) for one in self.tasks]
        return {
            **{name: pyarrow.chunked_array([part[name] for part in parts]) for name in parts[0]},
            "task": pyarrow.chunked_array(names),
        }

    def origin(self) -> dict[str, str]:
        """Return what a checkpoint must share with this run: name -> digest."""
        found = {f"the prompt contract of {one.name}": one.contract.digest for one in self.tasks}
        return found | {"the base": str(self.base.digest)}

    def report(self) -> dict[str, Any]:
        """Return what a person wants to read before pressing go, as JSON values."""
        return {
            "base": self.base.to_dict(),
            "base_positions": self.positions,
            "tasks": [one.report() for one in self.tasks],
        }


def run_preflight(
    asked: Sequence[tuple[Task, PromptContract]],
    *,
    base: str,
    base_revision: str | None,
    data_dir: Path | None,
    synthetic_seed: int,
    max_length: int | None,
    on_overlong: OnOverlong = "raise",
    shots: int = 0,
    shots_seed: int = 0,
    evaluation_rows: int | None = None,
    cache: EncodedCache | None = None,
    weights: bool = True,
) -> Preflight:
    """Read and encode all rows for a base; raise at the first thing that would train wrong.

    Args:
        asked: each task with its contract, as the task gives it; the contracts in the result also
            hold what follows.
        on_overlong: what to do with a row of more than ``max_length`` tokens.
        shots: worked examples in every prompt, drawn from the training rows by ``shots_seed``;
            these rows are not trained on.
        evaluation_rows: at most so many rows of each task are evaluated, evenly spread over its
            evaluation rows; none of the others is trained on either.
        cache: where encoded rows are kept between runs.
        weights: False where the base's tokenizer and config.json are enough.

    Raises:
        DataError and its kinds: what is wrong with which row, and what to do.
    """
    tables = read_together([task for task, _ in asked], data_dir=data_dir, seed=synthetic_seed)
    prepared = []
    for (task, contract), (train, held_out) in zip(asked, tables, strict=True):
        if shots:
            chosen = choose_shots(contract, train.rows, count=shots, seed=shots_seed)
            contract = replace(contract, shots=chosen)
            rows = without_shots(contract, train.rows)
            train = _with_rows(train, rows, "is a shot in the prompt")
        if "shorten" in on_overlong:
            if max_length is None:
                raise UsageError(
                    f"on_overlong is {on_overlong} without max_length.", fix="Set both."
                )
            contract = replace(contract, shorten_to=max_length)
        _check_every_label(task, train)
        check_gold(task, train.rows, split="train")
        check_gold(task, held_out.rows, split="evaluation")
        prepared.append((task, contract, train, held_out))
    folder, identity = locate_base(base, revision=base_revision, weights=weights)
    tokenizer = load_tokenizer(folder)

    def encode(task: Task, contract: PromptContract, table: Table) -> tuple[Table, EncodedRows]:
        encoded = encode_rows(
            table.rows,
            contract=contract,
            tokenizer=tokenizer,
            max_length=max_length,
            on_overlong=on_overlong,
            cache=cache,
        )
        fitting = [table.rows[i] for i in encoded.kept] if encoded.dropped else table.rows
        table = _with_rows(table, fitting, f"longer than {max_length} tokens")
        check_trained_tokens(
            encoded.training_columns(),
            table.rows,
            task=task,
            contract=contract,
            tokenizer=tokenizer,
            max_length=max_length,
        )
        return table, encoded

    checked = []
    for task, contract, train, held_out in prepared:
        check_labels_and_stop(contract, tokenizer, folder)
        for split, table in (("train", train), ("evaluation", held_out)):
            check_answer_room(task, table.rows, split=split, contract=contract, tokenizer=tokenizer)
        train, encoded = encode(task, contract, train)
        _check_every_label(task, train)  # once more: rows may have been dropped
        held_out, encoded_held_out = encode(task, contract, held_out)
        if evaluation_rows is not None:
            held_out, encoded_held_out = _at_most(evaluation_rows, held_out, encoded_held_out)
        checked.append(
            TaskPreflight(
                task=task,
                contract=contract,
                train=train,
                held_out=held_out,
                encoded=encoded,
                encoded_held_out=encoded_held_out,
            )
        )
    return Preflight(tasks=tuple(checked), base=identity, base_folder=folder, tokenizer=tokenizer)


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


def room_for(trained: int = 0, *, checkpoints: int = 1) -> int:
    """Return the bytes that a run which trains so many numbers may write before it ends.

    Args:
        checkpoints: how many may be on the disk at one time.
    """
    # 16 each: float32 weights and two moments in a checkpoint, the adapter, and some more
    return ROOM + 16 * trained * checkpoints


def checkpoints_at_once(training: Any, *, steps: int) -> int:
    """Return how many checkpoints a run may have on the disk at one time.

    A new one is whole before an old one is removed, and there is one at the end in any case.

    Args:
        training: the training arguments.
        steps: optimizer steps of the run.
    """
    kind = str(getattr(training.save_strategy, "value", training.save_strategy))
    if kind == "no":
        return 1
    if kind == "steps":
        every = training.save_steps if training.save_steps >= 1 else steps * training.save_steps
        saves = math.ceil(steps / max(1, every))
    else:
        saves = math.ceil(training.num_train_epochs)
    limit = training.save_total_limit
    return 1 + (min(saves, limit) if limit else saves)


def _at_most(count: int, table: Table, encoded: EncodedRows) -> tuple[Table, EncodedRows]:
    """Return at most ``count`` rows, evenly spread over all of them, in their order."""
    given = len(table.rows)
    if count >= given:
        return table, encoded
    chosen = [number * given // count for number in range(count)]
    rows = [table.rows[number] for number in chosen]
    return (
        _with_rows(table, rows, f"beyond evaluation_rows={count}"),
        EncodedRows(columns=encoded.columns.take(chosen), given=count),
    )


def _check_every_label(task: Task, train: Table) -> None:
    missing = set(task.label_names) - {row["label"] for row in train.rows}
    if missing:
        reasons = "".join(f"; {gone} left out: {why}" for why, gone in train.dropped.items())
        raise UnknownLabelError(
            f"No training row of task '{task.name}' has the label {sorted(missing)} "
            f"({len(train.rows)} rows{reasons}).",
            fix="It needs rows of every label.",
        )


def _with_rows(table: Table, rows: list[dict[str, str]], reason: str) -> Table:
    """Return the table with fewer rows, those that are gone counted under ``reason``."""
    gone = len(table.rows) - len(rows)
    return replace(table, rows=rows, dropped=table.dropped | {reason: gone}) if gone else table


def _table_report(table: Table, task: Task) -> dict[str, Any]:
    """Return the figures of a split; of free answers only how many different ones there are."""
    counts = Counter(row["label"] for row in table.rows)
    answers = {"labels": dict(sorted(counts.items()))} if task.labels else {"answers": len(counts)}
    return {
        "file": table.file.path,
        "sha256": table.file.sha256,
        "rows": len(table.rows),
        "partial_file": table.file.partial,
        "dropped": table.dropped,
        **answers,
    }
