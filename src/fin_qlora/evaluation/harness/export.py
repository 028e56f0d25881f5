"""Writing tasks as lm-evaluation-harness reads them: a YAML file and a file of rows for each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...data.table import Table, read_split, without_rows_of
from ...errors import UsageError
from ...files import write_bytes, write_text
from ...prompts import Form, PromptContract, choose_shots
from ...tasks import Task, get
from ...tasks.task import Split
from .asked import Asked, asked_of
from .wording import ForAnyModel, ForOneModel, Wording

#: What the names of exported tasks begin with; also their common tag.
PREFIX = "fin_qlora"

#: Names of tasks that are file names, and that the harness reads as one name and no pattern.
_FILE_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True, kw_only=True)
class ExportedTask:
    """A task as it was written: its name in the harness, its file, and what the rows may be."""

    name: str
    path: Path
    rows: int
    licence: str
    noncommercial: bool
    exact: bool


def export_pack(
    names: Sequence[str],
    out: Path,
    *,
    model: str | None = None,
    revision: str | None = None,
    data_dir: Path | None = None,
    split: Split = "test",
    form: Form | None = None,
    shots: int = 0,
    shots_seed: int = 0,
    limit: int | None = None,
) -> list[ExportedTask]:
    """Write ``fin_qlora_NAME.yaml`` and its rows into ``out`` for each task.

    The rows are those of the user's own data, with the whole prompt of each: worked examples are
    in it, so the harness is to add none (``num_fewshot`` is 0).

    Args:
        model: base or adapter that will be asked (folder or hub id). With it prompts and labels
            bring their begin and end tokens and become our very ids, which is checked for every
            row; an adapter is asked as it was trained. Without it any model may be asked, and the
            end token of a label does not count.
        form, shots, shots_seed: how a base is asked, as for ``evaluate``.
        limit: only the first rows.

    Raises:
        UsageError: no task is named, or one twice; or what is asked needs a model.
        ContractError: the model's tokenizer reads a prompt back as other ids.
        MissingFileError, DataError: of the data or the adapter.
    """
    tasks = [get(name) for name in names]
    if not tasks or len({task.name for task in tasks}) < len(tasks):
        raise UsageError("Name each task once, and at least one.", fix="See `fin-qlora tasks ls`.")
    for task in tasks:
        if not _FILE_NAME.fullmatch(task.name):
            raise UsageError(
                f"The task '{task.name}' cannot have a file of its name.",
                fix="Use letters, digits, '_', '-' and full stops in its name.",
            )
    asked = asked_of(model, revision=revision) if model else None
    if shots and asked and asked.contracts:
        raise UsageError(
            f"'{model}' is an adapter and has the shots that it was trained with.",
            fix="Leave out shots.",
        )
    exported = []
    for task in tasks:
        table = read_split(task, split, data_dir=data_dir)
        contract = _contract(task, asked, form=form)
        if shots:
            train = without_rows_of(read_split(task, "train", data_dir=data_dir), table)
            drawn = choose_shots(contract, train.rows, count=shots, seed=shots_seed)
            contract = replace(contract, shots=drawn)
        wording: Wording = (
            ForOneModel(contract, asked.tokenizer) if asked else ForAnyModel(contract)
        )
        exported.append(_write(task, contract, wording, table, out, split=split, limit=limit))
    return exported


def _contract(task: Task, asked: Asked | None, *, form: Form | None) -> PromptContract:
    if asked and asked.contracts:
        return asked.prompt(task, form=form)
    return task.contract(form or "plain")


def _write(
    task: Task,
    contract: PromptContract,
    wording: Wording,
    table: Table,
    out: Path,
    *,
    split: Split,
    limit: int | None,
) -> ExportedTask:
    rows = table.rows[:limit]
    name = f"{PREFIX}_{task.name}"
    data = (out / f"{name}.parquet").resolve()
    _write_rows(data, rows, wording.prompts(rows), labels=contract.labels)
    settings = {
        "task": name,
        "tag": PREFIX,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {split: str(data)}},
        # whichever rows they are: the harness asks those of its test split
        "test_split": split,
        **_asking(wording, labels=contract.labels),
        "num_fewshot": 0,
        "metadata": {
            "version": 1.0,
            "contract_digest": contract.digest,
            "data": table.file.path,
            "data_sha256": table.file.sha256,
            "rows": len(rows),
            "licence": task.licence.name,
        },
    }
    path = out / f"{name}.yaml"
    write_text(path, _yaml(settings))
    return ExportedTask(
        name=name,
        path=path,
        rows=len(rows),
        licence=task.licence.name,
        noncommercial=task.licence.noncommercial,
        exact=isinstance(wording, ForOneModel),
    )


def _asking(wording: Wording, *, labels: Sequence[str]) -> dict[str, Any]:
    """Return how the harness asks: columns of the rows by name, never a template to fill."""
    shared = {"doc_to_text": "prompt", "target_delimiter": wording.delimiter}
    if labels:
        return {
            "output_type": "multiple_choice",
            **shared,
            "doc_to_target": "gold",
            "doc_to_choice": list(wording.choices),
            "metric_list": [_mean("acc")],
        }
    return {
        "output_type": "generate_until",
        **shared,
        "doc_to_target": "answer",
        "generation_kwargs": {
            "until": list(wording.stops),
            "max_gen_toks": wording.room,
            "do_sample": False,
            "temperature": 0.0,
        },
        "filter_list": [
            {
                "name": "as_written",
                "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}],
            }
        ],
        "metric_list": [_mean("exact_match")],
    }


def _mean(metric: str) -> dict[str, Any]:
    return {"metric": metric, "aggregation": "mean", "higher_is_better": True}


def _write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], prompts: Sequence[str], *, labels: Sequence[str]
) -> None:
    """Write prompt and right answer of each row: ``gold`` is the place of the label.

    It is parquet and not JSON, of which `datasets` would make dates where all answers look like
    such.
    """
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, Any] = {
        "prompt": pyarrow.array(prompts, pyarrow.string()),
        "answer": pyarrow.array([row["label"] for row in rows], pyarrow.string()),
    }
    if labels:
        places = [labels.index(row["label"]) for row in rows]
        columns["gold"] = pyarrow.array(places, pyarrow.int64())
    stream = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    write_bytes(path, stream.getvalue().to_pybytes())


def _yaml(settings: Mapping[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=100)
