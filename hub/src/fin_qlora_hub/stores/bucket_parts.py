"""Parts of large files as objects of a bucket: `parts/UPLOAD-NUMBER`."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from fin_qlora_hub.stores import disk, parts
from fin_qlora_hub.stores.bucket import WHOLE_PIECE_BYTES, Bucket

_FOLDER = "parts"


class BucketPartStore:
    """Parts in a bucket, and what arrives in a folder of the local disk."""

    def __init__(self, bucket: Bucket, scratch: Path) -> None:
        self._bucket = bucket
        self._scratch = scratch
        self._scratch.mkdir(parents=True, exist_ok=True)

    def receive(self, size: int) -> disk.IncomingFile:
        """Open a file for a part of `size` bytes."""
        return disk.IncomingFile(self._scratch, limit=size, refusal=parts.refusal(size))

    def keep(self, part: disk.IncomingFile, upload: str, number: int) -> None:
        """Send a received part; one that was sent again takes its place."""
        part.close()
        self._bucket.put(name_of(upload, number), part.path)

    def joined(self, upload: str, count: int) -> Iterator[bytes]:
        """Look for all objects now; yield them one after another."""
        names = [name_of(upload, number) for number in range(1, count + 1)]
        found = self._bucket.find_all(names)
        for number, name in enumerate(names, start=1):
            if name not in found:
                raise parts.missing(number)
        return chain.from_iterable(
            self._bucket.read(name, length=found[name].size, piece_bytes=WHOLE_PIECE_BYTES)
            for name in names
        )

    def forget(self, upload: str, count: int) -> None:
        """Remove all parts of an upload."""
        self._bucket.remove_all(name_of(upload, number) for number in range(1, count + 1))

    def sweep(self) -> int:
        """Remove what was being received; parts in the bucket may be another server's."""
        return disk.empty_folder(self._scratch)

    def remove_old(self) -> int:
        """Remove parts whose last one never came; servers may run meanwhile."""
        received = disk.remove_older(self._scratch, disk.PATIENCE_SECONDS)
        for folder in (_FOLDER, "incoming"):  # of direct transfer, never verified
            received += self._bucket.remove_older(folder, parts.PATIENCE_SECONDS)
        return received


def name_of(upload: str, number: int) -> str:
    """Return the name of the object that holds a part."""
    return f"{_FOLDER}/{upload}-{number}"
