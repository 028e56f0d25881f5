"""Parts of large files as files of one directory, under the name of their upload and number."""

from collections.abc import Iterator
from pathlib import Path

from fin_qlora_hub.stores import disk, parts


class LocalPartStore:
    """Parts on the local disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def receive(self, size: int) -> disk.IncomingFile:
        """Open a file for a part of `size` bytes."""
        return disk.IncomingFile(self._incoming, limit=size, refusal=parts.refusal(size))

    def keep(self, part: disk.IncomingFile, upload: str, number: int) -> None:
        """Put a received part beside the others; one that was sent again takes its place."""
        part.finish()
        with disk.full_disk_refused():
            part.path.replace(self._path(upload, number))

    def joined(self, upload: str, count: int) -> Iterator[bytes]:
        """Look for all files now; yield them one after another."""
        paths = [self._path(upload, number) for number in range(1, count + 1)]
        for number, path in enumerate(paths, start=1):
            if not path.is_file():
                raise parts.missing(number)
        return (piece for path in paths for piece in disk.read_part(path, start=0))

    def forget(self, upload: str, count: int) -> None:
        """Remove all parts of an upload."""
        for number in range(1, count + 1):
            self._path(upload, number).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what was being received, and parts whose last one never came."""
        return disk.empty_folder(self._incoming) + self.remove_old()

    def remove_old(self) -> int:
        """Remove parts whose last one never came; a server may run meanwhile."""
        incoming = disk.remove_older(self._incoming, disk.PATIENCE_SECONDS)
        return incoming + disk.remove_older(self._root, parts.PATIENCE_SECONDS)

    def _path(self, upload: str, number: int) -> Path:
        return self._root / f"{upload}-{number}"
