"""Xorbs as files of one directory: `ab/cd...`, and `incoming/` for uploads."""

from collections.abc import Collection, Generator, Iterator
from dataclasses import replace
from pathlib import Path

from fin_qlora_hub.errors import UnusableDataError
from fin_qlora_hub.stores import disk
from fin_qlora_hub.xet.store import KeptXorb, StagedXorb, StoredXorb, XorbFiles, read_index


class LocalXorbs(XorbFiles):
    """The bytes of xorbs on the local disk, of each hash those of one packing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def incoming(self, *, limit: int, refusal: str) -> disk.IncomingFile:
        """Open a temporary file on the disk that will keep the xorb."""
        return disk.IncomingFile(self._incoming, limit=limit, refusal=refusal)

    def stage(self, file: disk.IncomingFile, xorb: StoredXorb) -> None:
        """Make the temporary file durable."""
        file.finish()

    def place(self, staged: StagedXorb, known: StoredXorb | None) -> StoredXorb:
        """Rename the file; one that is packed in another way stays while it is there."""
        same = known is not None and self._is_packed_as(staged, known)
        if known is not None and not same and self._holds(known):
            return known
        disk.put_in_place(staged.file.path, self.path_of(staged.hash))
        # The same bytes at the same places: addresses that were given out stay good.
        return replace(staged.stored, made=known.made) if known and same else staged.stored

    def read(self, xorb: StoredXorb, *, start: int, length: int) -> Generator[bytes, None, None]:
        """Open the file now and yield its bytes in pieces."""
        return disk.read_part(self.path_of(xorb.hash), start=start, length=length)

    def sizes(self, xorbs: Collection[StoredXorb]) -> dict[str, int]:
        """Look at the files."""
        found = {xorb.hash: disk.size_of(self.path_of(xorb.hash)) for xorb in xorbs}
        return {name: size for name, size in found.items() if size is not None}

    def kept(self) -> Iterator[KeptXorb]:
        """Walk through the folders."""
        for name, _ in disk.named_files(self.root):
            yield KeptXorb(name, None)

    def remove(self, xorb: KeptXorb) -> None:
        """Remove the file."""
        self.path_of(xorb.hash).unlink(missing_ok=True)

    def set_aside(self, xorb: StoredXorb) -> None:
        """Move the file."""
        disk.set_aside(self.path_of(xorb.hash), self.root)

    def sweep(self) -> int:
        """Empty `incoming/`."""
        return disk.empty_folder(self._incoming)

    def remove_old(self) -> int:
        """Look into `incoming/`."""
        return disk.remove_older(self._incoming, disk.PATIENCE_SECONDS)

    def path_of(self, xorb: str) -> Path:
        """Return where a xorb lies, or would."""
        return disk.place_in(self.root, xorb)

    def _holds(self, xorb: StoredXorb) -> bool:
        return disk.size_of(self.path_of(xorb.hash)) == xorb.file_size

    def _is_packed_as(self, staged: StagedXorb, known: StoredXorb) -> bool:
        """Say whether a xorb has the same bytes at the same places as one that was received."""
        try:
            return staged.size == known.size and read_index(self, known) == staged.index
        except UnusableDataError:
            return False
