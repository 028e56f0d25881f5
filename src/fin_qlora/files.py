"""Files that are whole or absent, their digests, and the data that ships with the package."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from .errors import DiskFullError, FinQloraError

Shipped = Literal["recipes", "ds_configs", "schemas"]


@contextlib.contextmanager
def disk_full_is_an_error(place: Path) -> Iterator[None]:
    """Turn the system's "no space left" into a DiskFullError that names the place."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"The disk is full: '{place}' could not be written.",
                fix="Free some space or choose another output directory; nothing was left behind.",
            ) from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and rename it into place, so that no reader sees half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_is_an_error(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that the file is either the old one or the new one."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON so that the file is either the old one or the new one."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def directory_in_place(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes its place only when the block succeeds.

    An older folder at ``path`` is kept until then and replaced whole. On any error the new folder
    is removed. Raises DiskFullError when the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_is_an_error(path):
        beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            os.chmod(beside, 0o755)
            yield beside
            if path.exists():
                old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
                os.replace(path, old / path.name)
                os.replace(beside, path)
                shutil.rmtree(old)
            else:
                os.replace(beside, path)
        except BaseException as error:
            shutil.rmtree(beside, ignore_errors=True)
            if "No space left on device" in str(error) and not isinstance(error, OSError):
                # safetensors and pyarrow wrap the system's error in their own exception
                raise OSError(errno.ENOSPC, "No space left on device") from error
            raise


def sha256_bytes(content: bytes) -> str:
    """Return the SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of ``value`` as canonical JSON: sorted keys, no blanks, UTF-8."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return sha256_bytes(text.encode("utf-8"))


def shipped(kind: Shipped) -> Path:
    """Return the folder of shipped data: inside the installed package, else in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_shipped" / kind
    checkout = package.parents[1] / kind
    for folder in (installed, checkout):
        if folder.is_dir():
            return folder
    raise FinQloraError(
        f"The {kind} that ship with fin-qlora are missing.", fix="Install the package again."
    )
