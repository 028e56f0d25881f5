"""Contents as objects of a bucket: `blobs/ab/cd...`.

What arrives is written down on the local disk, and sent from there once its hash is known.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from fin_qlora_hub.errors import BusyError
from fin_qlora_hub.stores import disk
from fin_qlora_hub.stores.blobs import Content, StagedBlob
from fin_qlora_hub.stores.bucket import Bucket
from fin_qlora_hub.stores.spooled import SpooledBlob, SpooledWriter, refusal

_FOLDER = "blobs"


class BucketBlobStore:
    """Contents below `blobs/` of a bucket, and what arrives in a folder of the local disk."""

    def __init__(self, bucket: Bucket, scratch: Path) -> None:
        self._bucket = bucket
        self._scratch = scratch
        self._scratch.mkdir(parents=True, exist_ok=True)

    def writer(self, *, limit: int, inline: bool = True) -> SpooledWriter:
        """Open a temporary file on the local disk."""
        file = disk.IncomingFile(self._scratch, limit=limit, refusal=refusal(limit))
        return SpooledWriter(file, inline=inline, durable=False)

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Send each file; one that was sent before only if it has gone since."""
        waiting: dict[str, SpooledBlob] = {}
        for blob in staged:
            if isinstance(blob, SentBlob):
                blob.require()
                continue
            assert isinstance(blob, SpooledBlob)
            waiting[name_of(blob.content.sha256)] = blob
        sent = [name for name, blob in waiting.items() if blob.published]
        there = self._bucket.find_all(sent)
        missing = {name: blob for name, blob in waiting.items() if name not in there}
        self._bucket.put_all((name, blob.path) for name, blob in missing.items())
        for blob in missing.values():
            blob.published = True

    def holds(self, sha256: str) -> bool:
        """Look for the object."""
        return self._bucket.find(name_of(sha256)) is not None

    def read(self, sha256: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Fetch the first piece now, so that a missing content fails here, and yield all."""
        return self._bucket.read(name_of(sha256), start=start, length=length)

    def sizes(self, sha256s: Collection[str]) -> dict[str, int]:
        """Look for the objects, many at a time."""
        found = self._bucket.find_all([name_of(sha256) for sha256 in sha256s])
        return {_sha256(name): one.size for name, one in found.items()}

    def contents(self) -> Iterator[tuple[str, float]]:
        """List the objects."""
        for one in self._bucket.objects(_FOLDER):
            yield _sha256(one.name), one.modified

    def remove_unused(
        self, candidates: Sequence[str], *, before: float, dry_run: bool = False
    ) -> dict[str, int]:
        """Remove objects that came long ago.

        Nothing keeps an upload from arriving in between: whoever sends one notices by
        `removals` that contents were being removed, and looks again inside its transaction.
        """
        found = self._bucket.find_all([name_of(sha256) for sha256 in candidates])
        old = {name: one.size for name, one in found.items() if one.modified < before}
        if not dry_run:
            self._bucket.remove_all(old)
        return {_sha256(name): size for name, size in old.items()}

    def version(self, sha256: str) -> str | None:
        """Take the ETag and the time: equal bytes that came anew have the same ETag."""
        found = self._bucket.find(name_of(sha256))
        return None if found is None else found.version

    def copy_aside(self, sha256: str) -> None:
        """Copy the object to `damaged/`."""
        found = self._bucket.find(name_of(sha256))
        if found is not None:
            self._bucket.copy(found.name, f"damaged/{found.name}", size=found.size)

    def set_aside(self, sha256: str, *, version: str) -> None:
        """Remove the object."""
        found = self._bucket.find(name_of(sha256))
        if found is not None and found.version == version:
            self._bucket.remove(found.name)

    def remove_old(self) -> int:
        """Look into the folder for what arrives."""
        return disk.remove_older(self._scratch, disk.PATIENCE_SECONDS)

    def require_space(self, size: int) -> None:
        """Compare with the free space of the local disk, through which everything goes."""
        disk.require_space(self._scratch, size)

    def sweep(self) -> int:
        """Empty the folder for what arrives."""
        return disk.empty_folder(self._scratch)


class SentBlob:
    """A content that is in its place already and lies nowhere else."""

    def __init__(self, bucket: Bucket, content: Content) -> None:
        self._bucket = bucket
        self._content = content

    @property
    def content(self) -> Content:
        """The ids and size of the bytes."""
        return self._content

    def read(self) -> Iterator[bytes]:
        """Fetch the bytes."""
        return self._bucket.read(name_of(self._content.sha256))

    def discard(self) -> None:
        """Leave it: somebody else may have sent the same."""

    def require(self) -> None:
        """Raise BusyError if it has been removed meanwhile: the client still has it."""
        if self._bucket.find(name_of(self._content.sha256)) is None:
            raise BusyError("The file was removed while it was being taken in: send it again.")


def name_of(sha256: str) -> str:
    """Return the name of the object that holds a content."""
    return f"{_FOLDER}/{sha256[:2]}/{sha256[2:]}"


def _sha256(name: str) -> str:
    return name.removeprefix(f"{_FOLDER}/").replace("/", "")
