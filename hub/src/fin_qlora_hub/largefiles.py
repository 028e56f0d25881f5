"""Large files that arrive outside commits, whole or in parts, and which a repository then holds."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.blobs import BlobStore, BlobWriter, Content, StagedBlob
from fin_qlora_hub.database import Database
from fin_qlora_hub.disk import read_part
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.tables import StoredFile, XetFile
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
    if any(sent_at < oldest for _, sent_at in present.values()):
        # Inside a writing transaction: no collection is half-way between looking and removing.
        with database.writing() as session:
            present = _present(session, blobs, repository_id, files)
            due = [sha256 for sha256, (_, sent_at) in present.items() if sent_at < oldest]
            for part in _parts(due):
                mine = XetFile.repository_id == repository_id, XetFile.sha256.in_(part)
                session.execute(update(XetFile).where(*mine).values(created_at=datetime.now(UTC)))
            for sha256 in due:
                blobs.renew(sha256)
    return {sha256: size for sha256, (size, _) in present.items()}


def _present(
    session: Session, blobs: BlobStore, repository_id: int, files: Collection[Expected]
) -> dict[str, tuple[int, datetime]]:
    held = held_sizes(session, repository_id, [file.sha256 for file in files])
    chunked: dict[str, datetime] = {}
    for part in _parts(held):
        query = select(XetFile.sha256, XetFile.created_at).where(
            XetFile.repository_id == repository_id, XetFile.sha256.in_(part)
        )
        chunked.update((sha256, created_at) for sha256, created_at in session.execute(query))
    found = {}
    for sha256, size in held.items():
        sent_at = blobs.last_sent(sha256, size=size)
        times = [] if sent_at is None else [datetime.fromtimestamp(sent_at, UTC)]
        if sha256 in chunked:
            times.append(chunked[sha256])
        if times:
            found[sha256] = size, max(times)
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


def _parts(values: Collection[str]) -> Iterator[list[str]]:
    whole = list(values)
    for start in range(0, len(whole), _VALUES_PER_QUERY):
        yield whole[start : start + _VALUES_PER_QUERY]
