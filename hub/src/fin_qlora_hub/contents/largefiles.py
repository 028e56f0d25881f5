"""Large files that arrive outside commits, whole or in parts, and which a repository then holds."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import StoredFile, XetFile
from fin_qlora_hub.stores.blobs import BlobStore, BlobWriter, StagedBlob
from fin_qlora_hub.stores.holding import hold
from fin_qlora_hub.stores.publishing import publish
from fin_qlora_hub.xet.access import Access, Scope, require
from fin_qlora_hub.xet.ownership import TOUCH_AGAIN

_VALUES_PER_QUERY = 500


@dataclass(frozen=True)
class Expected:
    """What was announced of a content: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


def held_sizes(session: Session, repository_id: int, sha256s: Collection[str]) -> dict[str, int]:
    """Return the sizes of those contents that the repository holds; other repositories' are not."""
    found: dict[str, int] = {}
    for part in _parts(sha256s):
        query = select(StoredFile.sha256, StoredFile.size).where(
            StoredFile.repository_id == repository_id, StoredFile.sha256.in_(part)
        )
        found.update((sha256, size) for sha256, size in session.execute(query))
    return found


def renew(
    database: Database, blobs: BlobStore, repository_id: int, files: Collection[Expected]
) -> dict[str, int]:
    """Return the sizes of those contents that the repository holds and that are really there.

    They count as sent just now: whoever is told that they are here may commit them for weeks.
    """
    with database.reading() as session:
        present = _present(session, blobs, repository_id, files)
    oldest = datetime.now(UTC) - TOUCH_AGAIN
    due = {sha256 for sha256, (_, sent_at) in present.items() if sent_at < oldest}
    if due:
        # Inside a writing transaction: no collection is half-way between looking and removing.
        now = datetime.now(UTC)
        with database.writing() as session:
            still = held_sizes(session, repository_id, due)
            for part in _parts(still):
                for kind in (StoredFile, XetFile):
                    mine = kind.repository_id == repository_id, kind.sha256.in_(part)
                    values = {"sent_at" if kind is StoredFile else "created_at": now}
                    session.execute(update(kind).where(*mine).values(values))
        present = {name: it for name, it in present.items() if name in still or name not in due}
    return {sha256: size for sha256, (size, _) in present.items()}


def _present(
    session: Session, blobs: BlobStore, repository_id: int, files: Collection[Expected]
) -> dict[str, tuple[int, datetime]]:
    held: dict[str, tuple[int, datetime]] = {}
    chunked: set[str] = set()
    for part in _parts({file.sha256 for file in files}):
        mine = StoredFile.repository_id == repository_id, StoredFile.sha256.in_(part)
        query = select(StoredFile.sha256, StoredFile.size, StoredFile.sent_at).where(*mine)
        held.update((sha256, (size, at)) for sha256, size, at in session.execute(query))
        also = XetFile.repository_id == repository_id, XetFile.sha256.in_(part)
        chunked.update(session.scalars(select(XetFile.sha256).where(*also)))
    sizes = blobs.sizes([sha256 for sha256 in held if sha256 not in chunked])
    return {
        sha256: (size, sent_at)
        for sha256, (size, sent_at) in held.items()
        if sha256 in chunked or sizes.get(sha256) == size
    }


def finish(writer: BlobWriter, expected: Expected) -> StagedBlob:
    """Make received bytes durable if they are those that were announced."""
    staged = writer.finish()
    content = staged.content
    if (content.sha256, content.size) != (expected.sha256, expected.size):
        staged.discard()
        raise BadRequestError(
            f"{expected.size:,} bytes with the SHA-256 {expected.sha256} were announced, "
            f"{content.size:,} bytes with {content.sha256} came: nothing was stored. Send them "
            "again."
        )
    return staged


def keep(database: Database, blobs: BlobStore, access: Access, staged: StagedBlob) -> None:
    """Let a repository hold received bytes: they are durable before the metadata names them."""
    with database.reading() as session:
        require(session, access, scope=Scope.WRITE)
    published = publish(database, blobs, [staged])
    with database.writing() as session:
        published.confirm(session)
        repository = require(session, access, scope=Scope.WRITE)
        hold(session, repository.id, staged.content)


def join(parts: Iterable[bytes], writer: BlobWriter) -> None:
    """Write the parts of a file one after another."""
    for piece in parts:
        writer.write(piece)


def _parts(values: Collection[str]) -> Iterator[list[str]]:
    whole = list(values)
    for start in range(0, len(whole), _VALUES_PER_QUERY):
        yield whole[start : start + _VALUES_PER_QUERY]
