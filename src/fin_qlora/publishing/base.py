"""Publishing a base model, so that adapters can name it by id and commit."""

from __future__ import annotations

from pathlib import Path

from ..errors import MissingFileError
from ..models.base import weights_digest
from ..models.tiny import TINY_ID, tiny_base_path
from .hub import client, split_reference
from .upload import Published, upload

_PARTS = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "*.md", "LICENSE*")


def push_base(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    tag: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> Published:
    """Put a base model on the hub: configuration, safetensors weights and tokenizer, no more.

    ``folder`` may also be the id of the embedded tiny base. The same content gives the same
    commit. Raises MissingFileError when the folder holds no model, HubError when the hub does not
    take it.
    """
    where = tiny_base_path() if str(folder) == TINY_ID else Path(folder)
    if not where.is_dir():
        raise MissingFileError(f"The folder '{where}' does not exist.", fix="Check the path.")
    weights_digest(where)
    name, _ = split_reference(repo_id)
    files = {path.name: path for part in _PARTS for path in sorted(where.glob(part))}
    return upload(
        client(token=token),
        name,
        files,
        message=message or f"Base model {where.name}",
        private=private,
        tag=tag,
    )
