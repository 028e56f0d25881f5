"""Files that are whole or absent, their digests, and the data that ships with the package."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from .errors import DiskFullError, FinQloraError, UsageError

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
        beside = _beside(path)
        # made by the system's own call, so that the user's umask holds
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that the file is either the old one or the new one."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON so that the file is either the old one or the new one."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def directory_in_place(path: Path, *, known_by: str | None = None) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` that takes its place only when the block succeeds.

    An older folder at ``path`` is kept until then and replaced whole. On any error the new folder
    is removed. Every file in it gets the permissions that the user's umask allows.

    Args:
        known_by: a file that shows an older folder to be one of ours; another one is not replaced,
            unless it is empty.

    Raises:
        UsageError: there is something else at ``path``.
        DiskFullError: the disk is full.
    """
    path = Path(os.path.abspath(path))  # '.' has no name to put a folder beside
    if known_by:
        _check_replaceable(path, known_by)
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_full_is_an_error(path):
        beside = _beside(path)
        beside.mkdir()
        try:
            yield beside
            _open_as_umask_allows(beside)
            _put_in_place(beside, path)
        except BaseException as error:
            shutil.rmtree(beside, ignore_errors=True)
            if "No space left on device" in str(error) and not isinstance(error, OSError):
                # safetensors and pyarrow wrap the system's error in their own exception
                raise OSError(errno.ENOSPC, "No space left on device") from error
            raise


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _check_replaceable(path: Path, known_by: str) -> None:
    if not path.exists():
        return
    if path.is_dir() and ((path / known_by).is_file() or not any(path.iterdir())):
        return
    what = (
        f"holds no {known_by}, so it is something else of yours" if path.is_dir() else "is a file"
    )
    raise UsageError(
        f"'{path}' {what} and is not replaced.",
        fix="Choose another folder, or pass --force to replace it.",
    )


def _open_as_umask_allows(folder: Path) -> None:
    """Give what libraries wrote for the owner alone the permissions that a new file would have."""
    allowed = folder.stat().st_mode & 0o777
    for entry in folder.rglob("*"):
        if not entry.is_symlink():
            entry.chmod(allowed if entry.is_dir() else allowed & 0o666)


def _put_in_place(new: Path, path: Path) -> None:
    if not path.exists():
        os.replace(new, path)
        return
    old = _beside(path)
    os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(old, path)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink()


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
