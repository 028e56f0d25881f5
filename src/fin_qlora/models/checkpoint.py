"""What lies in the safetensors files of a base, known from their heads alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, MissingFileError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_INDEX = "model.safetensors.index.json"


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor in a base's files; no tensor is read.

    Raises MissingFileError where there are no safetensors, or a file that the index names is gone.
    """
    from safetensors import safe_open

    index = folder / _INDEX
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({folder / name for name in named.values()})
    else:
        files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise MissingFileError(
            f"'{folder}' holds no model.safetensors.", fix="Convert its weights to safetensors."
        )
    found: dict[str, tuple[int, ...]] = {}
    for file in files:
        if not file.is_file():
            raise MissingFileError(
                f"'{folder}' has no {file.name}, which its index names.", fix="Fetch it again."
            )
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118  (it is no mapping)
                found[name] = tuple(opened.get_slice(name).get_shape())
    return found


def check_stored(folder: Path, skeleton: PreTrainedModel) -> None:
    """Refuse a base whose files lack a tensor of its architecture, or have one of another shape.

    Args:
        skeleton: the base without numbers, not quantised.

    Raises:
        MissingFileError: a file is not there.
        DataError: a tensor is missing, or has another shape.
    """
    stored = stored_shapes(folder)
    tied = set(skeleton.all_tied_weights_keys)
    for name, tensor in skeleton.state_dict().items():
        if name in tied:
            continue
        if name not in stored:
            raise DataError(
                f"The base in '{folder}' has no tensor '{name}'.", fix="Fetch it again."
            )
        if stored[name] != tuple(tensor.shape):
            raise DataError(
                f"Tensor '{name}' of the base in '{folder}' has shape {stored[name]}, where its "
                f"config.json asks for {tuple(tensor.shape)}.",
                fix="Fetch it again.",
            )
