"""The digests of large files, remembered for as long as the files are untouched."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from ..files import sha256_file, sha256_json, write_text

#: A file that was touched this lately may be written again without its times showing it.
_SETTLED_SECONDS = 2.0


def digest_of(file: Path, *, again: bool = False) -> str:
    """Return the SHA-256 of a file, read once for as long as nothing about it changes.

    It is remembered under the file's path, device, inode, size and the nanoseconds of its last
    change of content and of its entry (``ctime``, which no program can set back). A file that was
    touched within the last two seconds is read and not remembered.

    Args:
        again: read it whatever is remembered.
    """
    before = _state(file)
    memory = _memory(file, before)
    if not again:
        with contextlib.suppress(OSError):
            known = memory.read_text(encoding="ascii").strip()
            if len(known) == 64:
                return known
    digest = sha256_file(file)
    if _state(file) == before and time.time_ns() - max(before[3:]) > _SETTLED_SECONDS * 1e9:
        with contextlib.suppress(OSError):  # a cache that cannot be written is none
            write_text(memory, digest)
    return digest


def _state(file: Path) -> tuple[int, ...]:
    found = file.stat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_dev, found.st_ino, found.st_size, *times)


def _memory(file: Path, state: tuple[int, ...]) -> Path:
    key = sha256_json({"path": str(file.resolve()), "state": list(state)})
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    return Path(home).expanduser() / "fin_qlora-digests" / key
