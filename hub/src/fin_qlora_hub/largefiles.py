"""Large files that arrive outside commits, whole or in parts, and which a repository then holds."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.blobs import BlobStore, BlobWriter, Content, StagedBlob
from fin_qlora_hub.database import Database
from fin_qlora_hub.disk import read_part
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.tables import StoredFile
from fin_qlora_hub.xet.access import Access, Scope, require

_VALUES_PER_QUERY = 500


@dataclass(frozen=True)
class Expected:
    """What was announced of a content: its SHA-256 and its size in bytes."""

    sha256: str
    size: int


def held_sizes(session: Session, repository_id: int, sha256s: Collection[str]) -> dict[str, int]:
    """Return the sizes of those contents that the repository holds; other repositories' are not."""
    wanted = list(sha256s)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _VALUES_PER_QUERY):
        query = select(StoredFile.sha256, StoredFile.size).where(
            StoredFile.repository_id == repository_id,
            StoredFile.sha256.in_(wanted[start : start + _VALUES_PER_QUERY]),
        )
        found.update((sha256, size) for sha256, size in session.execute(query))
    return found


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
    blobs.publish([staged])
    with database.writing() as session:
        repository = require(session, access, scope=Scope.WRITE)
        hold(session, repository.id, staged.content)


def hold(session: Session, repository_id: int, content: Content) -> None:
    """Note that a repository holds a content; what is known of it stays."""
    if session.get(StoredFile, (repository_id, content.sha256)) is None:
        session.add(
            StoredFile(
                repository_id=repository_id,
                sha256=content.sha256,
                git_sha1=content.git_sha1,
                size=content.size,
            )
        )


def join(parts: Collection[Path], writer: BlobWriter) -> None:
    """Write the parts of a file one after another."""
    for part in parts:
        for chunk in read_part(part, start=0):
            writer.write(chunk)
