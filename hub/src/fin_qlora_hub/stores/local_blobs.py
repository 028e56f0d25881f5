"""Contents as files of one directory."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from fin_qlora_hub.metadata.locking import held
from fin_qlora_hub.stores import disk
from fin_qlora_hub.stores.blobs import StagedBlob
from fin_qlora_hub.stores.spooled import SpooledBlob, SpooledWriter, refusal

# A crash could not make a younger content look unused.
FRESH_SECONDS = 24 * 60 * 60


class LocalBlobStore:
    """Contents as files of one directory: `ab/cd...` for content, `incoming/` for uploads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self._lock = root / "lock"

    def writer(self, *, limit: int, inline: bool = True) -> SpooledWriter:
        """Open a temporary file on the disk that will keep it."""
        file = disk.IncomingFile(self._incoming, limit=limit, refusal=refusal(limit))
        return SpooledWriter(file, inline=inline, durable=True)

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Rename each file to its place and make the renames durable."""
        folders: set[Path] = set()
        with disk.full_disk_refused(), held(self._lock, exclusive=False):
            for blob in staged:
                assert isinstance(blob, SpooledBlob)
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

    def sizes(self, sha256s: Collection[str]) -> dict[str, int]:
        """Look at the files."""
        found = {sha256: disk.size_of(self.path_of(sha256)) for sha256 in sha256s}
        return {sha256: size for sha256, size in found.items() if size is not None}

    def contents(self) -> Iterator[tuple[str, float]]:
        """Walk through the folders."""
        for name, path in disk.named_files(self._root):
            with suppress(FileNotFoundError):  # it has just been removed
                yield name, path.stat().st_mtime

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

    def version(self, sha256: str) -> str | None:
        """Take the time of the file, as exact as the disk has it."""
        try:
            return str(self.path_of(sha256).stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def copy_aside(self, sha256: str) -> None:
        """Do nothing: a file is moved at once."""

    def set_aside(self, sha256: str, *, version: str) -> None:
        """Move the file to `damaged/`."""
        with held(self._lock, exclusive=True):
            if self.version(sha256) == version:
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
