"""File contents, stored once under their SHA-256, whatever repositories use them."""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fin_qlora_hub import disk
from fin_qlora_hub.gitobjects import new_object
from fin_qlora_hub.locking import held

FRESH_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Content:
    """What is known of some bytes: their ids and their size.

    `git_sha1` is None for what did not come inside a commit: git keeps only a pointer to it.
    """

    sha256: str
    git_sha1: str | None
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

    def writer(self, *, limit: int, inline: bool = True) -> BlobWriter:
        """Open a file for at most `limit` bytes; only an `inline` one gets a git id."""

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Make staged bytes readable under their SHA-256, durably and all at once."""

    def holds(self, sha256: str) -> bool:
        """Say whether the bytes are there."""

    def last_sent(self, sha256: str, *, size: int | None = None) -> float | None:
        """Return when the bytes were last sent or renewed, in seconds since 1970.

        None where they are not there, or are not of the given size.
        """

    def contents(self) -> Iterator[tuple[str, float]]:
        """Yield the SHA-256 of everything that is there, and when it was last sent."""

    def renew(self, sha256: str) -> None:
        """Let the time before they may be collected begin anew; harmless if they are gone."""

    def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start`, in chunks."""

    def require_space(self, size: int) -> None:
        """Raise StorageFullError if `size` more bytes would leave less than a small reserve."""

    def remove_unused(
        self, candidates: Sequence[str], *, before: float, dry_run: bool = False
    ) -> dict[str, int]:
        """Remove those contents that were last sent before a moment; return their sizes.

        Whoever calls holds the writing transaction and has made sure that nothing names them. An
        upload of the same bytes comes before this or after it, never in between.
        """

    def set_aside(self, sha256: str, *, sent_at: float) -> None:
        """Take damaged bytes away, unless they were sent anew since a moment."""

    def sweep(self) -> int:
        """Remove what interrupted uploads left behind; return the number of files."""

    def remove_old(self) -> int:
        """Remove what uploads left behind that ended long ago; servers may run meanwhile."""


class LocalBlobStore:
    """Contents as files of one directory: `ab/cd...` for content, `incoming/` for uploads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._lock = root / "lock"

    def writer(self, *, limit: int, inline: bool = True) -> "LocalBlobWriter":
        """Open a temporary file on the disk that will keep it."""
        refusal = (
            f"A file is larger than the {limit:,} bytes that this hub takes: split it, or ask the "
            "administrator to raise FIN_QLORA_HUB_MAX_FILE_BYTES."
        )
        file = disk.IncomingFile(self._incoming, limit=limit, refusal=refusal)
        return LocalBlobWriter(file, inline=inline)

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Rename each file to its place and make the renames durable."""
        folders: set[Path] = set()
        with disk.full_disk_refused(), held(self._lock, exclusive=False):
            for blob in staged:
                assert isinstance(blob, LocalStagedBlob)
                target = self.path_of(blob.content.sha256)
                if not target.parent.is_dir():
                    target.parent.mkdir(exist_ok=True)
                    folders.add(self._root)
                # What is there already is replaced all the same: it may have been damaged since.
                # Its name is durable, and equal bytes need not be so twice.
                if not _is_fresh(target):
                    folders.add(target.parent)
                with suppress(FileNotFoundError):  # published before
                    blob.path.replace(target)
            for folder in folders:
                disk.sync_folder(folder)

    def holds(self, sha256: str) -> bool:
        """Look for the file."""
        return self.path_of(sha256).is_file()

    def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Open the file now, so that a missing one fails here, and yield it chunk by chunk."""
        return disk.read_part(self.path_of(sha256), start=start, length=length)

    def last_sent(self, sha256: str, *, size: int | None = None) -> float | None:
        """Look at the time and size of the file."""
        try:
            status = self.path_of(sha256).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime if size in (None, status.st_size) else None

    def contents(self) -> Iterator[tuple[str, float]]:
        """Walk through the folders."""
        for name, path in disk.named_files(self._root):
            with suppress(FileNotFoundError):  # it has just been removed
                yield name, path.stat().st_mtime

    def renew(self, sha256: str) -> None:
        """Give the file the present time."""
        with held(self._lock, exclusive=False), suppress(FileNotFoundError):
            os.utime(self.path_of(sha256))

    def remove_unused(
        self, candidates: Sequence[str], *, before: float, dry_run: bool = False
    ) -> dict[str, int]:
        """Remove old files while nothing takes its place and no time is renewed."""
        removed = {}
        with held(self._lock, exclusive=True):
            for sha256 in candidates:
                path = self.path_of(sha256)
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if status.st_mtime < before:
                        if not dry_run:
                            path.unlink()
                        removed[sha256] = status.st_size
        return removed

    def set_aside(self, sha256: str, *, sent_at: float) -> None:
        """Move the file to `damaged/`."""
        with held(self._lock, exclusive=True):
            if self.last_sent(sha256) == sent_at:
                disk.set_aside(self.path_of(sha256), self._root)

    def remove_old(self) -> int:
        """Look into `incoming/`."""
        return disk.remove_older(self._incoming, disk.PATIENCE_SECONDS)

    def require_space(self, size: int) -> None:
        """Compare with the free space of the disk."""
        disk.require_space(self._root, size)

    def sweep(self) -> int:
        """Empty `incoming/`; only safe while no server runs on the directory."""
        return disk.empty_folder(self._incoming)

    def path_of(self, sha256: str) -> Path:
        """Return where a content lies, or would."""
        return disk.place_in(self._root, sha256)


def _is_fresh(path: Path) -> bool:
    """Say whether a content came so lately that a crash could not make it look unused."""
    try:
        return path.stat().st_mtime > time.time() - FRESH_SECONDS
    except FileNotFoundError:
        return False


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
        return disk.read_part(self.path, start=0)

    def discard(self) -> None:
        """Remove the temporary file if it is still there."""
        self.path.unlink(missing_ok=True)


class LocalBlobWriter:
    """A temporary file that is being written and hashed at once."""

    def __init__(self, file: disk.IncomingFile, *, inline: bool) -> None:
        self._file = file
        self._inline = inline
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append `data`; a full disk or a file beyond the limit is refused."""
        self._file.write(data)
        self._sha256.update(data)

    def finish(self) -> LocalStagedBlob:
        """Flush to the disk and compute the git id, which needs the size first."""
        self._file.finish()
        git_sha1 = self._git_sha1() if self._inline else None
        content = Content(self._sha256.hexdigest(), git_sha1, self._file.size)
        return LocalStagedBlob(self._file.path, content)

    def discard(self) -> None:
        """Close and remove the temporary file."""
        self._file.discard()

    def _git_sha1(self) -> str:
        digest = new_object("blob", self._file.size)
        for chunk in disk.read_part(self._file.path, start=0):
            digest.update(chunk)
        return digest.hexdigest()
