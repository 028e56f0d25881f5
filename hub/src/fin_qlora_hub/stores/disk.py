"""Files on the local disk: written beside, made durable, and a full disk told as such."""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fin_qlora_hub.errors import StorageFullError, TooLargeError

CHUNK_BYTES = 1024 * 1024
# What uploads leave free, so that the hub can still remove things and shut down in order.
RESERVE_BYTES = 32 * CHUNK_BYTES
# Nothing that is still being received is older.
PATIENCE_SECONDS = 24 * 60 * 60
_CHECK_BYTES = 8 * CHUNK_BYTES
_FULL = "The hub's disk is full: nothing was stored. Ask the administrator to free space."


def require_space(folder: Path, size: int) -> None:
    """Raise StorageFullError if `size` more bytes would leave less than a small reserve."""
    disk = shutil.disk_usage(folder)
    if size > disk.free - min(RESERVE_BYTES, disk.total // 20):
        raise StorageFullError(_FULL)


class IncomingFile:
    """A file that is being received; nobody sees it before it is moved to its place."""

    def __init__(self, folder: Path, *, limit: int, refusal: str) -> None:
        require_space(folder, 0)
        self.path = folder / uuid.uuid4().hex
        self.size = 0
        self._folder = folder
        self._limit = limit
        self._refusal = refusal
        self._unchecked = 0
        with full_disk_refused():
            self._handle: BinaryIO = self.path.open("xb")

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`; raises TooLargeError beyond the limit, StorageFullError on a full disk."""
        self.size += len(data)
        if self.size > self._limit:
            raise TooLargeError(self._refusal)
        self._unchecked += len(data)
        if self._unchecked > _CHECK_BYTES:
            require_space(self._folder, 0)
            self._unchecked = 0
        with full_disk_refused():
            append(self._handle, data)

    def cut(self, size: int) -> None:
        """Drop what was written beyond `size` bytes."""
        with full_disk_refused():
            self._handle.flush()
            self._handle.truncate(size)
            self._handle.seek(size)
        self.size = size

    def close(self) -> None:
        """Write out the bytes, which need not outlive the process."""
        with full_disk_refused():
            self._handle.close()

    def finish(self) -> None:
        """Make the bytes durable."""
        with full_disk_refused():
            self._handle.flush()
            os.fsync(self._handle.fileno())
        self._handle.close()

    def discard(self) -> None:
        """Close and remove the file; harmless after it was moved to its place."""
        with suppress(OSError):  # closing flushes, and a full disk would fail again
            self._handle.close()
        self.path.unlink(missing_ok=True)


def append(handle: BinaryIO, data: bytes | memoryview) -> None:
    """Write the next bytes of a file."""
    handle.write(data)


def put_in_place(path: Path, target: Path) -> None:
    """Give a finished file its name, durably; its folder is made where it is missing."""
    with full_disk_refused():
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            sync_folder(target.parent.parent)
        path.replace(target)
        sync_folder(target.parent)


def read_part(path: Path, *, start: int, length: int | None = None) -> Generator[bytes, None, None]:
    """Open a file now, so that a missing one fails here, and yield it chunk by chunk."""
    handle = path.open("rb")
    if length is None:
        length = os.fstat(handle.fileno()).st_size - start
    return _chunks(handle, start=start, length=length)


def _chunks(handle: BinaryIO, *, start: int, length: int) -> Generator[bytes, None, None]:
    with handle:
        handle.seek(start)
        while length > 0 and (chunk := handle.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_in(root: Path, name: str) -> Path:
    """Return where a store keeps what has this name."""
    return root / name[:2] / name[2:]


def size_of(path: Path) -> int | None:
    """Return the size of a file in bytes, None where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def sync_file(path: Path) -> None:
    """Make the bytes of a closed file durable."""
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def named_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the contents of a store with their names, `ab/cd...`, in order."""
    for folder in sorted(root.iterdir()):
        if len(folder.name) == 2:
            for path in sorted(path for path in folder.iterdir() if path.is_file()):
                yield folder.name + path.name, path


def set_aside(path: Path, root: Path) -> None:
    """Move a damaged file out of the way of a sound one, where somebody may still look at it."""
    folder = root / "damaged"
    folder.mkdir(exist_ok=True)
    path.replace(folder / (path.parent.name + path.name))
    sync_folder(path.parent)


def remove_older(folder: Path, seconds: float) -> int:
    """Remove files that nobody has written to for so long; return their number."""
    removed = 0
    oldest = time.time() - seconds
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # it has just been put in its place
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed


def empty_folder(folder: Path) -> int:
    """Remove the files of a folder; return their number."""
    leftovers = list(folder.iterdir())
    for leftover in leftovers:
        leftover.unlink()
    return len(leftovers)


@contextmanager
def full_disk_refused() -> Iterator[None]:
    """Turn the error of a full disk into a refusal."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(_FULL) from error
        raise
