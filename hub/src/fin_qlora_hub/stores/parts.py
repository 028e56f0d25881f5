"""Parts of large files, waiting until the last one has come."""

from collections.abc import Iterator
from typing import Protocol

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.stores import disk

PATIENCE_SECONDS = 24 * 60 * 60


class PartStore(Protocol):
    """Where parts wait: on the local disk, or in a bucket."""

    def receive(self, size: int) -> disk.IncomingFile:
        """Open a file for a part of `size` bytes."""

    def keep(self, part: disk.IncomingFile, upload: str, number: int) -> None:
        """Put a received part beside the others; one that was sent again takes its place."""

    def joined(self, upload: str, count: int) -> Iterator[bytes]:
        """Yield the bytes of all parts; raises BadRequestError now where one is missing."""

    def forget(self, upload: str, count: int) -> None:
        """Remove all parts of an upload."""

    def sweep(self) -> int:
        """Remove what was being received, and parts whose last one never came."""

    def remove_old(self) -> int:
        """Remove parts whose last one never came; a server may run meanwhile."""


def refusal(size: int) -> str:
    """Return what to tell whoever sends more than was announced."""
    return f"The part is larger than the {size:,} bytes that were announced."


def missing(number: int) -> BadRequestError:
    """Return what to raise where a part is not there."""
    return BadRequestError(f"Part {number} of the upload has not arrived: send the file again.")
