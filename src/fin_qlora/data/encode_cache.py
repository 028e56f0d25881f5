"""Encoded rows on disk, found again by what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet

from ..files import sha256_json, write_bytes
from ..prompts import FACTS, PromptContract

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Changed whenever the columns, or how they are made, change.
FORMAT = 1


class EncodedCache:
    """A folder of encoded row sets; it may be deleted at any time.

    A set is found by the SHA-256 over what its ids follow from: the fields of the rows that are
    read, the contract, the whole tokenizer with its chat template, and the versions of the
    libraries. A file is whole or absent; one whose checksums do not hold is made again.

    Args:
        folder: None for ``fin_qlora-encoded`` in the folder where `datasets` keeps its own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _beside_datasets()

    def key(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        contract: PromptContract,
        tokenizer: PreTrainedTokenizerBase,
    ) -> str | None:
        """Return the name under which rows are kept; None when the tokenizer has no digest."""
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            return None
        fields = [*contract.fields, "label", FACTS]
        digest = hashlib.sha256()
        for row in rows:
            line = json.dumps([row.get(name) for name in fields], ensure_ascii=True)
            digest.update(line.encode("ascii") + b"\n")
        return sha256_json(
            {
                "format": FORMAT,
                "rows": digest.hexdigest(),
                "contract": contract.digest,
                "tokenizer": _tokenizer_digest(tokenizer),
                "versions": [version("tokenizers"), version("transformers")],
            }
        )

    def read(self, key: str, columns: pyarrow.Schema) -> pyarrow.Table | None:
        """Return the table kept under that name, or None."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
        except (OSError, pyarrow.ArrowException):
            return None
        return table if table.schema.equals(columns) else None

    def write(self, key: str, table: pyarrow.Table) -> None:
        """Keep a table under that name."""
        stream = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, stream, write_page_checksum=True, compression="zstd")
        write_bytes(self._path(key), stream.getvalue().to_pybytes())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.parquet"


def _tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    return sha256_json(
        {
            "backend": hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
            "chat_template": tokenizer.chat_template,
            "special": {
                name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())
            },
        }
    )


def _beside_datasets() -> Path:
    own = os.environ.get("HF_DATASETS_CACHE")
    if own:
        return Path(own).expanduser() / "fin_qlora-encoded"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "datasets" / "fin_qlora-encoded"
