"""Transfer between clients and an object store, past the hub, which signs each address.

What comes this way is no content before the hub has read and verified it.
"""

from collections.abc import Collection
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import TooLargeError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import XetFile
from fin_qlora_hub.stores.blobs import BlobStore, StagedBlob
from fin_qlora_hub.stores.holding import hold
from fin_qlora_hub.stores.publishing import publish
from fin_qlora_hub.xet.access import Access, Scope, require

# Whoever has an address may use it for so long; uploads of large files take their time.
DOWNLOAD_SECONDS = 15 * 60
UPLOAD_SECONDS = 6 * 60 * 60
# Smaller contents are sent by the hub itself: asking twice would take longer.
SMALLEST_REDIRECTED = 1024 * 1024
_VALUES_PER_QUERY = 500


class DirectTransfer(Protocol):
    """Gives out addresses of an object store, and knows what has come to them."""

    largest_upload: int

    def content_url(self, sha256: str, *, media_type: str, disposition: str) -> str:
        """Return an address where a content can be read."""

    def xorb_url(self, xorb: str, made: int, *, start: int, end: int) -> str:
        """Return an address that is good for the bytes from `start` up to `end` of a xorb alone."""

    def upload_url(self, access: Access, sha256: str, *, size: int) -> str:
        """Return an address that takes `size` bytes, which should have this SHA-256.

        Each user has one of their own for a repository, and for each content.
        """

    def part_url(self, upload: str, number: int, *, size: int) -> str:
        """Return an address that takes one part of a file."""

    def arrived(self, access: Access, sha256s: Collection[str]) -> dict[str, int]:
        """Return how many bytes have come to the addresses for those of the contents."""

    def take_over(self, access: Access, sha256: str, *, size: int) -> StagedBlob:
        """Make what came a content if its bytes are right; raises BadRequestError, and forgets it.

        Raises FileNotFoundError where nothing came.
        """

    def forget(self, access: Access, sha256: str) -> None:
        """Forget what came for a content."""


def take_in(
    database: Database,
    blobs: BlobStore,
    direct: DirectTransfer,
    access: Access,
    sha256s: Collection[str],
    *,
    max_file_bytes: int,
) -> None:
    """Let a repository hold what has come for it: verified, and durable before that."""
    with database.reading() as session:
        wanted = _not_chunked(session, access, sha256s)
    for sha256, size in direct.arrived(access, wanted).items():
        if size > max_file_bytes:
            raise TooLargeError(
                f"A file of {size:,} bytes is larger than the {max_file_bytes:,} bytes that this "
                "hub takes: split it, or ask the administrator to raise "
                "FIN_QLORA_HUB_MAX_FILE_BYTES."
            )
        # What is published first is nothing yet, so that the state of removals is from before.
        published = publish(database, blobs, ())
        try:
            staged = direct.take_over(access, sha256, size=size)
        except FileNotFoundError:
            continue  # another request has taken it over meanwhile
        published = published.also(staged)
        with database.writing() as session:
            published.confirm(session)
            repository = require(session, access, scope=Scope.WRITE)
            hold(session, repository.id, staged.content)
        direct.forget(access, sha256)


def _not_chunked(session: Session, access: Access, sha256s: Collection[str]) -> list[str]:
    """Return those of the contents that cannot have come by Xet."""
    require(session, access, scope=Scope.WRITE)
    wanted = sorted(sha256s)
    chunked: set[str] = set()
    for start in range(0, len(wanted), _VALUES_PER_QUERY):
        part = wanted[start : start + _VALUES_PER_QUERY]
        mine = XetFile.repository_id == access.repository_id, XetFile.sha256.in_(part)
        chunked.update(session.scalars(select(XetFile.sha256).where(*mine)))
    return [sha256 for sha256 in wanted if sha256 not in chunked]
