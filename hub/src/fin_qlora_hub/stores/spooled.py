"""Contents that are written to a temporary file and hashed as they arrive."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from fin_qlora_hub.gitobjects import new_object
from fin_qlora_hub.stores import disk
from fin_qlora_hub.stores.blobs import Content


def refusal(limit: int) -> str:
    """Return what to tell whoever sends more than `limit` bytes."""
    return (
        f"A file is larger than the {limit:,} bytes that this hub takes: split it, or ask the "
        "administrator to raise FIN_QLORA_HUB_MAX_FILE_BYTES."
    )


class SpooledBlob:
    """A finished temporary file; `published` says that its bytes have been where they belong."""

    def __init__(self, path: Path, content: Content) -> None:
        self.path = path
        self.published = False
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


class SpooledWriter:
    """A temporary file that is being written and hashed at once.

    `durable` says that the file itself is to stay, so that it must outlive a crash.
    """

    def __init__(self, file: disk.IncomingFile, *, inline: bool, durable: bool) -> None:
        self._file = file
        self._inline = inline
        self._durable = durable
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Append `data`; a full disk or a file beyond the limit is refused."""
        self._file.write(data)
        self._sha256.update(data)

    def finish(self) -> SpooledBlob:
        """Write out the bytes and compute the git id, which needs the size first."""
        if self._durable:
            self._file.finish()
        else:
            self._file.close()
        git_sha1 = self._git_sha1() if self._inline else None
        content = Content(self._sha256.hexdigest(), git_sha1, self._file.size)
        return SpooledBlob(self._file.path, content)

    def discard(self) -> None:
        """Close and remove the temporary file."""
        self._file.discard()

    def _git_sha1(self) -> str:
        digest = new_object("blob", self._file.size)
        for chunk in disk.read_part(self._file.path, start=0):
            digest.update(chunk)
        return digest.hexdigest()
