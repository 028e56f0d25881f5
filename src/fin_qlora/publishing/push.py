"""Publishing an adapter: only with its evidence, and only on a base that the hub has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AdapterMismatchError, DataError, HubNotFoundError, MissingFileError, UsageError
from ..evidence import MANIFEST, RECORD, check, read_manifest, read_record, verify_files
from ..files import sha256_bytes
from ..offline import endpoint
from ..prompts import PromptContract
from .card import card
from .claims import ROWS
from .eval_results import eval_results_of
from .hub import client, split_reference
from .upload import Content, Published, upload, weights_digest_on_hub

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_CONFIG = "adapter_config.json"


def push(
    folder: str | Path,
    repo_id: str,
    *,
    base: str | None = None,
    private: bool = True,
    tag: str | None = None,
    message: str | None = None,
    allow_noncommercial: bool = False,
    rows: bool = True,
    token: str | None = None,
) -> Published:
    """Publish an adapter folder with its card and evidence as one commit of ``repo_id``.

    The folder itself is not changed. Pushing the same content again gives the same commit.

    Args:
        base: ``ORG/NAME[@REVISION]`` of the base on this hub, where the adapter names a folder
            or another hub's id; its weights must have the digest that was trained on.
        private: refuse to publish into a public repository, and create a private one.
        tag: a name for the commit.
        allow_noncommercial: publish although the data's licence forbids commercial use.
        rows: also publish ``eval/``, which holds the text of every row that was scored. The few
            canaries in ``fin_qlora.json`` are published in any case: loading replays them.

    Raises:
        MissingFileError: there is no folder, manifest or record.
        DataError: a file changed since training, or the data is not for commercial use.
        UsageError: no hub is named, or the base is not one of its ids.
        AdapterMismatchError: the hub's base has other weights than those trained on.
        HubError: the hub is away, refuses, or failed.
    """
    source = Path(folder)
    manifest, record = _evidence(source, allow_noncommercial=allow_noncommercial)
    name, _ = split_reference(repo_id)
    api = client(token=token)
    identity = _base_on_hub(api, manifest["base"], base)
    if not rows:
        manifest = _without_rows(manifest)
    files: dict[str, Content] = {path: source / path for path in manifest["files"]}
    if identity != manifest["base"]:
        manifest = _rebased(source, files, manifest, record, identity)
    files[MANIFEST] = _json_bytes(manifest)
    contracts = {
        task["task"]: PromptContract.from_dict(task["contract"]) for task in record["tasks"]
    }
    address = endpoint()
    files["README.md"] = card(manifest, contracts=contracts, repo_id=name, address=address).encode()
    files.update(eval_results_of(manifest, repo_id=name, address=address))
    return upload(
        api,
        name,
        files,
        message=message or f"Adapter for {', '.join(contracts)}",
        private=private,
        tag=tag,
    )


def _evidence(source: Path, *, allow_noncommercial: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (manifest, record) of a folder that may be published."""
    if not source.is_dir():
        raise MissingFileError(
            f"The folder '{source}' does not exist.",
            fix="Give the 'adapter' folder below the run's output directory.",
        )
    if not (source / MANIFEST).exists() and (source / "adapter" / MANIFEST).exists():
        raise MissingFileError(
            f"'{source}' is a run, not an adapter.", fix=f"Push '{source / 'adapter'}'."
        )
    manifest, record = read_manifest(source), read_record(source)
    findings = verify_files(source)
    if findings:
        raise DataError(
            f"'{source}' is not what was trained: {' '.join(findings)}",
            fix="Restore the files or train again; an adapter is published only with its evidence.",
        )
    for task in manifest["tasks"]:
        if task["noncommercial"] and not allow_noncommercial:
            raise DataError(
                f"The data of task '{task['task']}' is under {task['licence']}, which forbids "
                "commercial use.",
                fix="Pass --allow-noncommercial if that use is yours.",
            )
    return manifest, record


def _base_on_hub(api: HfApi, trained: dict[str, Any], asked: str | None) -> dict[str, Any]:
    """Return the base's identity on this hub after its weights agreed with those trained on."""
    if asked:
        name, revision = split_reference(asked)
    else:
        name, revision = trained["id"], trained["revision"]
        if revision is None:
            raise UsageError(
                f"The adapter was trained on '{name}', which is no commit on a hub, so nobody else "
                "could load it.",
                fix="Publish the base with `fin-qlora push FOLDER ORG/NAME --as-base`, then push "
                "with --base ORG/NAME.",
            )
    try:
        commit, digest = weights_digest_on_hub(api, name, revision=revision)
    except HubNotFoundError as error:
        raise HubNotFoundError(
            f"The base '{name}' at revision '{revision or 'main'}' is not on this hub, so the "
            "adapter could not be loaded from it.",
            fix="Publish it first with `fin-qlora push FOLDER ORG/NAME --as-base`, and name it "
            "with --base ORG/NAME if its id is another.",
        ) from error
    if digest != trained["digest"]:
        raise AdapterMismatchError(
            f"The adapter was trained on another base: its weights have the digest "
            f"{trained['digest'][:12]}, '{name}' at {commit[:12]} has {digest[:12]}.",
            fix="Push the base that it was trained on and name it with --base ORG/NAME.",
        )
    return {"id": name, "revision": commit, "digest": digest}


def _rebased(
    source: Path,
    files: dict[str, Content],
    manifest: dict[str, Any],
    record: dict[str, Any],
    identity: dict[str, Any],
) -> dict[str, Any]:
    """Name another id and commit of the same base in ``files``; return the new manifest."""
    config = json.loads((source / _CONFIG).read_text(encoding="utf-8"))
    config |= {"base_model_name_or_path": identity["id"], "revision": identity["revision"]}
    files[_CONFIG] = _json_bytes(config)
    files[RECORD] = _json_bytes({**record, "base": identity})
    digests = {
        name: sha256_bytes(content) for name, content in files.items() if isinstance(content, bytes)
    }
    changed = {**manifest, "base": identity, "files": {**manifest["files"], **digests}}
    check(changed, schema="manifest", place=MANIFEST)
    return changed


def _without_rows(manifest: dict[str, Any]) -> dict[str, Any]:
    kept = {name: sha for name, sha in manifest["files"].items() if not name.startswith(ROWS)}
    return {**manifest, "files": kept}


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
