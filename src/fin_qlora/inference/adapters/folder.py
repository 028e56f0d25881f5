"""An adapter's files and its base's, fetched and held to what training recorded; no model yet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import AdapterMismatchError, RemoteCodeError
from ...evidence import MANIFEST, RECORD, read_record, tasks_by_name, verify_files
from ...models.base import BaseIdentity, Quantization, locate_base
from ...models.repository import fetch
from ...models.stored_lora import CONFIG, read_config
from ...models.tiny import TINY_ID
from ...prompts import PromptContract

#: ``True``: one canary of each task; ``"full"``: all of them, under the base as well.
Verify = bool | Literal["full"]

#: Files in which Transformers looks for code to run.
_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "generation_config.json", CONFIG)

#: Settings of a recipe -> what ``adapter_config.json`` calls them.
_SETTINGS = {
    "lora_r": "r",
    "lora_alpha": "lora_alpha",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
}


@dataclass(frozen=True, kw_only=True)
class AdapterFolder:
    """An adapter that belongs to its base, as far as files can tell.

    Args:
        name: as it was asked for.
        folder: where its files are.
        commit: of its repository, or None for a local folder.
        record: what ``fin_qlora.json`` says.
        config: what ``adapter_config.json`` says.
        tasks: name of each task -> its prompt contract.
        base_folder: where the base's files are.
        base: which base that is.
        trained_in: how the base was quantised in training.
    """

    name: str
    folder: Path
    commit: str | None
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    tasks: Mapping[str, PromptContract]
    base_folder: Path
    base: BaseIdentity
    trained_in: Quantization


def read_adapter(
    reference: str | Path,
    *,
    revision: str | None = None,
    base: str | Path | None = None,
    on: tuple[Path, BaseIdentity] | None = None,
    verify: Verify = True,
) -> AdapterFolder:
    """Fetch an adapter and its base and check that they are what training recorded.

    Nothing in them is run: no code, no pickle.

    Args:
        reference: ``org/name`` or a folder.
        revision: branch, tag or commit of the adapter's repository.
        base: a folder or id to take the base from instead of the one that the adapter names.
        on: a base that is at hand already, instead of fetching one.
        verify: compare every file of the adapter with its digest in the manifest; ``"full"`` also
            reads the whole base for its digest, though it was read before and is untouched.

    Raises:
        HubNotFoundError, HubRefusedError, HubUnreachableError: it could not be fetched.
        MissingFileError, DataError: a file is not there, or does not follow its schema.
        AdapterMismatchError: other base, other prompt, a file that changed, settings that disagree.
        RemoteCodeError: base or adapter name code of their own.
    """
    name = str(reference)
    if name == TINY_ID:
        raise AdapterMismatchError(
            f"'{name}' is a base model and no adapter.",
            fix="Name an adapter that was trained on it.",
        )
    folder, commit = fetch(name, revision=revision, needs=CONFIG)
    config = read_config(folder)
    refuse_remote_code(folder, name=name)
    record = read_record(folder)
    tasks = {
        task: _contract(values, name=name)
        for task, values in tasks_by_name(record, place=str(folder / RECORD)).items()
    }
    _check_lineage(config, record)
    if verify:
        _check_files(folder, config, name=name)
    where, identity = on or _base(record["base"], instead=base, again=verify == "full")
    refuse_remote_code(where, name=identity.id)
    if identity.digest != record["base"]["digest"]:
        raise _another_base(name, record["base"], identity)
    return AdapterFolder(
        name=name,
        folder=folder,
        commit=commit,
        record=record,
        config=config,
        tasks=tasks,
        base_folder=where,
        base=identity,
        trained_in=record["quantization"],
    )


def refuse_remote_code(folder: Path, *, name: str) -> None:
    """Refuse a model or adapter whose configuration names code of its own.

    Raises RemoteCodeError.
    """
    for file in _CONFIGURATIONS:
        path = folder / file
        if not path.is_file():
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue  # who reads it for what it says reports that
        for field in ("auto_map", "trust_remote_code", "custom_pipelines"):
            if isinstance(values, dict) and values.get(field):
                raise RemoteCodeError(
                    f"'{name}' names code of its own: '{field}' in {file} is {values[field]!r}.",
                    fix="No code of a model is ever run here. Where Transformers knows the "
                    f"architecture itself, take a copy of it without '{field}'.",
                )


def _base(
    trained_on: Mapping[str, Any], *, instead: str | Path | None, again: bool
) -> tuple[Path, BaseIdentity]:
    if instead is not None:
        return locate_base(str(instead), again=again)
    return locate_base(trained_on["id"], revision=trained_on["revision"], again=again)


def _another_base(
    name: str, trained_on: Mapping[str, Any], found: BaseIdentity
) -> AdapterMismatchError:
    return AdapterMismatchError(
        f"'{name}' was trained on another base: '{trained_on['id']}' at revision "
        f"{trained_on['revision']} with digest {trained_on['digest'][:12]}, but '{found.id}' at "
        f"revision {found.revision} has digest {str(found.digest)[:12]}.",
        fix="Load it on the base that it was trained on.",
    )


def _contract(task: Mapping[str, Any], *, name: str) -> PromptContract:
    contract = PromptContract.from_dict(task["contract"])
    if contract.digest != task["contract_digest"]:
        raise AdapterMismatchError(
            f"The prompt contract of '{name}' (task '{task['task']}') was changed after training.",
            fix="Fetch the adapter again; do not edit fin_qlora.json.",
        )
    return contract


def _check_files(folder: Path, config: Mapping[str, Any], *, name: str) -> None:
    path = folder / MANIFEST
    if not path.is_file():
        return
    findings = verify_files(folder)
    settings = json.loads(path.read_text(encoding="utf-8"))["configuration"]
    for setting, called in _SETTINGS.items():
        if setting in settings and settings[setting] != config.get(called):
            findings.append(
                f"{CONFIG} has {called}={config.get(called)!r}, but training had "
                f"{setting}={settings[setting]!r}."
            )
    modules = settings.get("lora_target_modules")
    if isinstance(modules, list) and sorted(modules) != _sorted(config.get("target_modules")):
        findings.append(f"{CONFIG} has other target_modules than training had.")
    if findings:
        raise AdapterMismatchError(
            f"'{name}' is not what was trained: {' '.join(findings)}",
            fix="Fetch the adapter again; verify=False loads it all the same.",
        )


def _sorted(modules: Any) -> Any:
    return sorted(modules) if isinstance(modules, list) else modules


def _check_lineage(config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    named = (config.get("base_model_name_or_path"), config.get("revision"))
    recorded = (record["base"]["id"], record["base"]["revision"])
    if named != recorded:
        raise AdapterMismatchError(
            f"{CONFIG} names the base {named[0]!r} at {named[1]!r}, but {RECORD} "
            f"{recorded[0]!r} at {recorded[1]!r}.",
            fix="One of them was edited; fetch the adapter again.",
        )
