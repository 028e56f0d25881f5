"""An adapter written into its base: a model of its own, checked before it is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...errors import (
    AdapterMismatchError,
    MemoryShortError,
    MergeDriftError,
    NotFiniteError,
    UnknownNameError,
    UsageError,
)
from ...files import directory_in_place, sha256_file, write_json, write_text
from ...models.base import weights_digest
from ...models.lora import WEIGHTS
from ...models.stored_lora import stored_tensors
from ..adapters.folder import AdapterFolder, read_adapter
from .card import card_of, evidence_of
from .drift import Drift, answers_of, drift_between
from .layers import Change, changes_of

if TYPE_CHECKING:
    import torch

#: Says where a merged model comes from.
EVIDENCE = "merged_from.json"

#: Largest relative difference of the merged model's logits from the adapter's on the same 16-bit
#: base. Rounding the sum to bfloat16 moves them by less than a fiftieth.
TOLERANCE = 0.05

Dtype = Literal["bfloat16", "float16", "float32"]

_HEAD = "lm_head.weight"
_INDEX = "model.safetensors.index.json"
_OF_THE_BASE = ("generation_config.json",)
_OF_THE_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "tokenizer.model", "vocab.json", "merges.txt"),
)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A merged model and how its answers differ from the adapter's.

    Args:
        folder: where it is.
        drift: from the adapter on the 16-bit base.
        quantised: from the adapter on its base as it was trained; None where that is 16-bit too.
        evidence: what stands in ``merged_from.json``.
    """

    folder: Path
    drift: Drift
    quantised: Drift | None
    evidence: Mapping[str, Any]


def merge_adapter(
    reference: str | Path,
    out: Path,
    *,
    revision: str | None = None,
    base: str | Path | None = None,
    dtype: Dtype = "bfloat16",
    tolerance: float = TOLERANCE,
    replace: bool = False,
) -> Merged:
    """Write ``W0 + scale * B A`` of every layer into a model of its own.

    The sum is made in float32 on the base as it is published, never on a quantised one, and one
    file of it is in memory at a time. DoRA's rows get the length that was trained. Then the merged
    model is asked the adapter's canaries, and is kept only if its logits are the adapter's.

    Args:
        reference: ``org/name`` or a folder.
        out: the folder of the new model.
        revision: branch, tag or commit of the adapter's repository.
        base: a folder or id to take the base from instead of the one that the adapter names.
        dtype: of the weights that are written; they are checked as bfloat16, whatever it is.
        tolerance: the largest relative difference of logits that is kept.
        replace: whether a folder that holds something else may be replaced.

    Raises:
        AdapterMismatchError: what ``load_adapter`` refuses, or the base's files cannot take it.
        MergeDriftError: it does not answer as the adapter does; nothing is left.
        MemoryShortError: base or merged model does not fit the device that checks them.
        NotFiniteError: a weight is too large for ``dtype``.
        UsageError: there is something else at ``out``, or no canary to check it by.
    """
    if dtype not in get_args(Dtype):
        raise UnknownNameError("type of merged weights", str(dtype), get_args(Dtype))
    source = read_adapter(reference, revision=revision, base=base)
    if not any(task["canaries"] for task in source.record["tasks"]):
        raise UsageError(
            f"'{source.name}' has no canaries, by which the merged model would be checked.",
            fix="Train it again with this version of fin-qlora.",
        )
    _check_place(out, source)
    changes = changes_of(source.config, stored_tensors(source.folder))
    _check_untied(source, changes)
    with directory_in_place(out, known_by=None if replace else EVIDENCE) as new:
        _write_weights(source.base_folder, new, changes, dtype=dtype)
        _write_configuration(source, new, dtype=dtype)
        drift, quantised = _drifts(source, new)
        if not drift.logits <= tolerance:
            raise MergeDriftError(
                f"The merged model does not answer as '{source.name}' does: its logits are off by "
                f"{drift.logits:.2%} (allowed {tolerance:.2%}); nothing was kept.",
                fix="Serve base and adapter apart, or allow more by tolerance.",
            )
        evidence = evidence_of(
            source,
            dtype=dtype,
            layers=len(changes),
            adapter_digest=sha256_file(source.folder / WEIGHTS),
            digest=weights_digest(new),
            drift=drift,
            quantised=quantised,
            tolerance=tolerance,
        )
        write_json(new / EVIDENCE, evidence)
        write_text(new / "README.md", card_of(evidence, name=out.resolve().name))
    return Merged(folder=out, drift=drift, quantised=quantised, evidence=evidence)


def _check_place(out: Path, source: AdapterFolder) -> None:
    """Refuse a place whose replacement would take the adapter or its base away."""
    for what, folder in (("adapter", source.folder), ("base", source.base_folder)):
        if folder.resolve().is_relative_to(out.resolve()):
            raise UsageError(
                f"The {what} itself is in '{out}', which the merged model would replace.",
                fix="Write it to a folder of its own.",
            )


def _check_untied(source: AdapterFolder, changes: Mapping[str, Change]) -> None:
    """Refuse to change a head that is the embeddings as well: these would be changed with it."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source.base_folder, trust_remote_code=False)
    if config.tie_word_embeddings and _HEAD in changes:
        raise AdapterMismatchError(
            f"The adapter changes '{_HEAD}', and its base has one tensor for head and embeddings.",
            fix="Serve base and adapter apart.",
        )


def _drifts(source: AdapterFolder, merged: Path) -> tuple[Drift, Drift | None]:
    """Return how the merged model is off the adapter on 16 bits, and on its base as trained."""
    import torch

    try:
        now = answers_of(merged, source, adapter=False)
        drift = drift_between(now, answers_of(source.base_folder, source))
        if source.trained_in == "none":
            return drift, None
        trained = answers_of(source.base_folder, source, quantization=source.trained_in)
        return drift, drift_between(now, trained)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise MemoryShortError(
            "The merged model does not fit into memory in 16 bits, so it cannot be checked; "
            "nothing was kept.",
            fix="Merge on a larger device, or with CUDA_VISIBLE_DEVICES= on the processor.",
        ) from error


def _write_weights(base: Path, out: Path, changes: Mapping[str, Change], *, dtype: Dtype) -> None:
    """Write each file of the base again, with its layers changed, and the index beside them."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    wanted: torch.dtype = getattr(torch, dtype)
    left = set(changes)
    bytes_written = 0
    for file in _files(base):
        tensors: dict[str, torch.Tensor] = {}
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118  (it is no mapping)
                tensor = stored.get_tensor(name)
                if name in changes:
                    left.discard(name)
                    tensor = changes[name].applied_to(tensor, name=name)
                if tensor.is_floating_point():
                    tensor = tensor.to(wanted)
                    if not bool(tensor.isfinite().all()):
                        raise NotFiniteError(
                            f"The merged tensor '{name}' holds NaN or an infinity as {dtype}.",
                            fix="Write it as bfloat16 or float32, whose numbers reach further.",
                        )
                tensors[name] = tensor
        bytes_written += sum(tensor.nbytes for tensor in tensors.values())
        save_file(tensors, out / file.name, {"format": "pt"})
    if left:
        raise AdapterMismatchError(
            f"The base's files have no tensor '{min(left)}', which the adapter changes; of such "
            f"{len(left)} are missing.",
            fix="Its files name or group their tensors otherwise than its layers; serve base and "
            "adapter apart.",
        )
    if (base / _INDEX).is_file():
        index = json.loads((base / _INDEX).read_text(encoding="utf-8"))
        index["metadata"] = {**index.get("metadata", {}), "total_size": bytes_written}
        write_json(out / _INDEX, index)


def _files(base: Path) -> Iterator[Path]:
    if (base / _INDEX).is_file():
        index = json.loads((base / _INDEX).read_text(encoding="utf-8"))
        yield from (base / name for name in sorted(set(index["weight_map"].values())))
    else:
        yield from sorted(base.glob("model*.safetensors"))


def _write_configuration(source: AdapterFolder, out: Path, *, dtype: Dtype) -> None:
    config = json.loads((source.base_folder / "config.json").read_text(encoding="utf-8"))
    if config.get("quantization_config"):
        raise AdapterMismatchError(
            f"The base '{source.base.id}' is stored quantised; adding to rounded weights and "
            "rounding again would change its answers.",
            fix="Merge into the 16-bit base.",
        )
    config.pop("torch_dtype", None)
    write_json(out / "config.json", config | {"dtype": dtype})
    for name in _OF_THE_BASE:
        if (source.base_folder / name).is_file():
            shutil.copyfile(source.base_folder / name, out / name)
    for name in _OF_THE_TOKENIZER:
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, out / name)
