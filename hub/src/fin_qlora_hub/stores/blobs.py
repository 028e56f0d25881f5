"""File contents, stored once under their SHA-256, whatever repositories use them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


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
    """Where contents are kept: on the local disk, or in a bucket."""

    def writer(self, *, limit: int, inline: bool = True) -> BlobWriter:
        """Open a file for at most `limit` bytes; only an `inline` one gets a git id."""

    def publish(self, staged: Iterable[StagedBlob]) -> None:
        """Make staged bytes readable under their SHA-256, durably.

        What was published before is published again if it has gone since.
        """

    def holds(self, sha256: str) -> bool:
        """Say whether the bytes are there."""

    def sizes(self, sha256s: Collection[str]) -> dict[str, int]:
        """Return how many bytes those of the contents have that are there."""

    def contents(self) -> Iterator[tuple[str, float]]:
        """Yield the SHA-256 of everything that is there, and when it was last sent.

        The time is in seconds since 1970.
        """

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

    def version(self, sha256: str) -> str | None:
        """Return what tells the bytes from others that may take their place; None without any."""

    def copy_aside(self, sha256: str) -> None:
        """Copy damaged bytes to where somebody may look at them, unless they are moved there."""

    def set_aside(self, sha256: str, *, version: str) -> None:
        """Take damaged bytes away, unless others have taken their place.

        Whoever calls holds the writing transaction.
        """

    def sweep(self) -> int:
        """Remove what interrupted uploads left behind; return the number of files.

        Only safe while no other server runs on the same directory.
        """

    def remove_old(self) -> int:
        """Remove what uploads left behind that ended long ago; servers may run meanwhile."""
