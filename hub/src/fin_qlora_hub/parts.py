"""Parts of large files, waiting on the disk until the last one has come."""

from pathlib import Path

from fin_qlora_hub import disk
from fin_qlora_hub.errors import BadRequestError

PATIENCE_SECONDS = 24 * 60 * 60


class PartStore:
    """Parts as files of one directory, under the name of their upload and their number."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def receive(self, size: int) -> disk.IncomingFile:
        """Open a file for a part of `size` bytes."""
        refusal = f"The part is larger than the {size:,} bytes that were announced."
        return disk.IncomingFile(self._incoming, limit=size, refusal=refusal)

    def keep(self, part: disk.IncomingFile, upload: str, number: int) -> None:
        """Put a received part beside the others; one that was sent again takes its place."""
        part.finish()
        with disk.full_disk_refused():
            part.path.replace(self._path(upload, number))

    def paths(self, upload: str, count: int) -> list[Path]:
        """Return where all parts lie; raises BadRequestError where one is missing."""
        paths = [self._path(upload, number) for number in range(1, count + 1)]
        missing = [number for number, path in enumerate(paths, start=1) if not path.is_file()]
        if missing:
            raise BadRequestError(
                f"Part {missing[0]} of the upload has not arrived: send the file again."
            )
        return paths

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
        return incoming + disk.remove_older(self._root, PATIENCE_SECONDS)

    def _path(self, upload: str, number: int) -> Path:
        return self._root / f"{upload}-{number}"
