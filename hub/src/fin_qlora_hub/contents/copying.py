"""Large files that one repository gets from another without being sent again."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import place_of, record
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.metadata.tables import Repository, StoredFile, XetFile, XetSegment
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.stores.holding import hold


def copy_chunked(
    session: Session, storage: Storage, source: Repository, target: Repository, sha256: str
) -> bool:
    """Let `target` hold a content of `source`; return False if that does not hold it.

    Whoever calls has made sure that the source may be read and the target changed.
    """
    stored = session.get(StoredFile, (source.id, sha256))
    if stored is None:
        return False
    chunked = session.scalar(select(XetFile).filter_by(repository_id=source.id, sha256=sha256))
    if chunked is None and not storage.blobs.holds(sha256):
        return False
    hold(session, target.id, Content(stored.sha256, stored.git_sha1, stored.size))
    known = session.scalar(select(XetFile.id).filter_by(repository_id=target.id, sha256=sha256))
    if chunked is None or known is not None:
        return True
    copied = XetFile(
        repository_id=target.id,
        sha256=sha256,
        file_hash=chunked.file_hash,
        size=chunked.size,
        created_at=datetime.now(UTC),
    )
    session.add(copied)
    session.flush()
    session.add_all(
        XetSegment(
            file_id=copied.id,
            position=segment.position,
            xorb=segment.xorb,
            chunk_start=segment.chunk_start,
            chunk_end=segment.chunk_end,
            size=segment.size,
        )
        for segment in session.scalars(select(XetSegment).filter_by(file_id=chunked.id))
    )
    return True


def note_copied(
    session: Session, source: Repository, target: Repository, sha256s: list[str]
) -> None:
    """Put on record which contents of another repository somebody wanted `target` to hold."""
    origin = place_of(source).name
    record(session, Act.CONTENTS_COPIED, target, source=origin, contents=sha256s)
