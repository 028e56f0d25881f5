"""Where contents are: as blobs under their SHA-256, or as chunks in xorbs."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from fin_qlora_hub.contents.awaited import is_to_come
from fin_qlora_hub.errors import NotFetchedError
from fin_qlora_hub.stores.blobs import BlobStore
from fin_qlora_hub.xet.files import ChunkedFile, find_file
from fin_qlora_hub.xet.store import XorbStore


@dataclass(frozen=True)
class Source:
    """One content that a repository holds, ready to be read after the session has ended."""

    storage: "Storage"
    sha256: str
    size: int
    chunked: ChunkedFile | None

    def read(self, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start`, in pieces."""
        if self.chunked is None:
            return self.storage.blobs.read(self.sha256, start=start, length=length)
        length = self.size - start if length is None else min(length, self.size - start)
        return self.chunked.read(self.storage.xorbs, start=start, length=length)


@dataclass(frozen=True)
class Storage:
    """Both stores."""

    blobs: BlobStore
    xorbs: XorbStore

    def source(self, session: Session, repository_id: int, sha256: str, *, size: int) -> Source:
        """Find a content that is known to belong to a repository.

        Raises NotFetchedError for one of a mirrored repository that is not here yet.
        """
        # Most have come in one way alone: then the store need not be asked.
        chunked = find_file(session, repository_id, sha256=sha256)
        if chunked is not None and self.blobs.holds(sha256):
            chunked = None
        elif chunked is None and is_to_come(session, repository_id, sha256):
            raise NotFetchedError(
                "The file is in a mirrored repository and is not on this hub yet: download it as a "
                "whole, then try again."
            )
        return Source(self, sha256, size, chunked)

    def remove_old(self) -> int:
        """Remove what uploads left behind that ended long ago; servers may run meanwhile."""
        return self.blobs.remove_old() + self.xorbs.remove_old()

    def sweep(self) -> int:
        """Remove what interrupted uploads left behind; return the number of files."""
        return self.blobs.sweep() + self.xorbs.sweep()
