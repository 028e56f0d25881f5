"""File contents, stored once under their SHA-256, whatever repositories use them."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from fin_qlora_hub.errors import StorageFullError, TooLargeError
from fin_qlora_hub.gitobjects import new_object

CHUNK_BYTES = 1024 * 1024
# What uploads leave free, so that the hub can still remove things and shut down in order.
RESERVE_BYTES = 32 * CHUNK_BYTES
_CHECK_BYTES = 8 * CHUNK_BYTES


@dataclass(frozen=True)
class Content:
    """What is known of some bytes: both of their ids and their size."""

    sha256: str
    git_sha1: str
    size: int


class StagedBlob(Protocol):
    """Received bytes that no one can see yet."""

    @property
    def content(self) -> Content:
        """The ids and size of the bytes."""

    def read(self) -> Iterator[bytes]:
        """Yield the bytes, in chunks, before they are published."""

    def discard(self) -> None:
        """Forget the bytes; harmless after they were published."""


class BlobWriter(Protocol):
    """An open file of unknown length that is being received."""

    def write(self, data: bytes) -> None:
        """Take the next bytes; raises TooLargeError or StorageFullError."""

    def finish(self) -> StagedBlob:
        """Make the bytes durable, still unseen."""

    def discard(self) -> None:
        """Forget the bytes."""


class BlobStore(Protocol):
    """Where contents are kept; local disk here, an object store could take its place."""

    def writer(self, *, limit: int) -> BlobWriter:
        """Open a file for at most `limit` bytes."""

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Make staged bytes readable under their SHA-256, durably and all at once."""

    def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start`, in chunks."""

    def require_space(self, size: int) -> None:
        """Raise StorageFullError if `size` more bytes would leave less than a small reserve."""

    def sweep(self) -> int:
        """Remove what interrupted uploads left behind; return the number of files."""


class LocalBlobStore:
    """Contents as files of one directory: `ab/cd...` for content, `incoming/` for uploads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def writer(self, *, limit: int) -> "LocalBlobWriter":
        """Open a temporary file on the disk that will keep it."""
        self.require_space(0)
        with _full_disk_refused():
            return LocalBlobWriter(self, self._incoming / uuid.uuid4().hex, limit=limit)

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Rename each file to its place and make the renames durable."""
        folders: set[Path] = set()
        with _full_disk_refused():
            for blob in staged:
                assert isinstance(blob, LocalStagedBlob)
                target = self._path(blob.content.sha256)
                if not target.parent.is_dir():
                    target.parent.mkdir(exist_ok=True)
                    folders.add(self._root)
                if target.is_file() and target.stat().st_size == blob.content.size:
                    blob.discard()
                    continue
                blob.path.replace(target)
                folders.add(target.parent)
            for folder in folders:
                _sync_folder(folder)

    def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Open the file now, so that a missing one fails here, and yield it chunk by chunk."""
        handle = self._path(sha256).open("rb")
        if length is None:
            length = os.fstat(handle.fileno()).st_size - start
        return _chunks(handle, start=start, length=length)

    def require_space(self, size: int) -> None:
        """Compare with the free space of the disk."""
        disk = shutil.disk_usage(self._root)
        if size > disk.free - min(RESERVE_BYTES, disk.total // 20):
            raise StorageFullError(_FULL)

    def sweep(self) -> int:
        """Empty `incoming/`; only safe while no server runs on the directory."""
        leftovers = list(self._incoming.iterdir())
        for leftover in leftovers:
            leftover.unlink()
        return len(leftovers)

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256[2:]


class LocalStagedBlob:
    """A finished temporary file."""

    def __init__(self, path: Path, content: Content) -> None:
        self.path = path
        self._content = content

    @property
    def content(self) -> Content:
        """The ids and size of the bytes."""
        return self._content

    def read(self) -> Iterator[bytes]:
        """Open the temporary file and yield it chunk by chunk."""
        return _chunks(self.path.open("rb"), start=0, length=self._content.size)

    def discard(self) -> None:
        """Remove the temporary file if it is still there."""
        self.path.unlink(missing_ok=True)


class LocalBlobWriter:
    """A temporary file that is being written and hashed at once."""

    def __init__(self, store: LocalBlobStore, path: Path, *, limit: int) -> None:
        self._store = store
        self._unchecked = 0
        self._path = path
        self._limit = limit
        self._size = 0
        self._sha256 = hashlib.sha256()
        self._handle: BinaryIO = path.open("xb")

    def write(self, data: bytes) -> None:
        """Append `data`; a full disk or a file beyond the limit is refused."""
        self._size += len(data)
        if self._size > self._limit:
            raise TooLargeError(
                f"A file is larger than the {self._limit:,} bytes that this hub takes: "
                "split it, or ask the administrator to raise FIN_QLORA_HUB_MAX_FILE_BYTES."
            )
        self._unchecked += len(data)
        if self._unchecked > _CHECK_BYTES:
            self._store.require_space(0)
            self._unchecked = 0
        self._sha256.update(data)
        with _full_disk_refused():
            _append(self._handle, data)

    def finish(self) -> LocalStagedBlob:
        """Flush to the disk and compute the git id, which needs the size first."""
        with _full_disk_refused():
            self._handle.flush()
            os.fsync(self._handle.fileno())
        self._handle.close()
        content = Content(self._sha256.hexdigest(), self._git_sha1(), self._size)
        return LocalStagedBlob(self._path, content)

    def discard(self) -> None:
        """Close and remove the temporary file."""
        with suppress(OSError):  # closing flushes, and a full disk would fail again
            self._handle.close()
        self._path.unlink(missing_ok=True)

    def _git_sha1(self) -> str:
        digest = new_object("blob", self._size)
        for chunk in _chunks(self._path.open("rb"), start=0, length=self._size):
            digest.update(chunk)
        return digest.hexdigest()


_FULL = "The hub's disk is full: nothing was stored. Ask the administrator to free space."


def _append(handle: BinaryIO, data: bytes) -> None:
    handle.write(data)


def _chunks(handle: BinaryIO, *, start: int, length: int) -> Iterator[bytes]:
    with handle:
        handle.seek(start)
        while length > 0 and (chunk := handle.read(min(CHUNK_BYTES, length))):
            length -= len(chunk)
            yield chunk


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _full_disk_refused() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(_FULL) from error
        raise
