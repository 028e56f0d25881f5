"""Xorbs as objects of a bucket: `xorbs/ab/cd...-MADE`.

Each upload gets a key of its own, so that it can be sent before the writing transaction, which then
only says which of them counts. What counts no longer is removed as something that nobody names.
"""

import time
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

from fin_qlora_hub.stores import disk
from fin_qlora_hub.stores.bucket import Bucket
from fin_qlora_hub.xet.store import KeptXorb, StagedXorb, StoredXorb, XorbFiles

_FOLDER = "xorbs"


class BucketXorbs(XorbFiles):
    """The bytes of xorbs in a bucket, and what arrives in a folder of the local disk."""

    def __init__(self, bucket: Bucket, scratch: Path) -> None:
        self._bucket = bucket
        self._scratch = scratch
        self._scratch.mkdir(parents=True, exist_ok=True)

    def incoming(self, *, limit: int, refusal: str) -> disk.IncomingFile:
        """Open a temporary file on the local disk."""
        return disk.IncomingFile(self._scratch, limit=limit, refusal=refusal)

    def stage(self, file: disk.IncomingFile, xorb: StoredXorb) -> None:
        """Send the file, under a key that nobody knows yet."""
        file.close()
        self._bucket.put(name_of(xorb.hash, xorb.made), file.path)

    def place(self, staged: StagedXorb, known: StoredXorb | None) -> StoredXorb:
        """Let the one that was sent last count, however it and those before it are packed."""
        return staged.stored

    def read(self, xorb: StoredXorb, *, start: int, length: int) -> Generator[bytes, None, None]:
        """Fetch the first piece now and yield all of them."""
        return self._bucket.read(name_of(xorb.hash, xorb.made), start=start, length=length)

    def sizes(self, xorbs: Collection[StoredXorb]) -> dict[str, int]:
        """Look for the objects, many at a time."""
        names = {name_of(xorb.hash, xorb.made): xorb.hash for xorb in xorbs}
        found = self._bucket.find_all(names)
        return {names[name]: one.size for name, one in found.items()}

    def kept(self) -> Iterator[KeptXorb]:
        """List the objects, but for those that may yet be named."""
        oldest = time.time() - disk.PATIENCE_SECONDS
        for one in self._bucket.objects(_FOLDER):
            if one.modified < oldest:
                name, _, made = one.name.removeprefix(f"{_FOLDER}/").rpartition("-")
                yield KeptXorb(name.replace("/", ""), int(made))

    def remove(self, xorb: KeptXorb) -> None:
        """Remove the object."""
        assert xorb.made is not None
        self._bucket.remove(name_of(xorb.hash, xorb.made))

    def set_aside(self, xorb: StoredXorb) -> None:
        """Move the object."""
        name = name_of(xorb.hash, xorb.made)
        found = self._bucket.find(name)
        if found is not None:
            self._bucket.move(name, f"damaged/{name}", size=found.size)

    def sweep(self) -> int:
        """Empty the folder for what arrives."""
        return disk.empty_folder(self._scratch)

    def remove_old(self) -> int:
        """Look into the folder for what arrives."""
        return disk.remove_older(self._scratch, disk.PATIENCE_SECONDS)


def name_of(xorb: str, made: int) -> str:
    """Return the name of the object that holds a xorb."""
    return f"{_FOLDER}/{xorb[:2]}/{xorb[2:]}-{made}"
