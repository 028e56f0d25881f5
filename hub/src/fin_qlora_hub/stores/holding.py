"""Contents that a repository holds, and may commit."""

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from fin_qlora_hub.metadata.quotas import grow
from fin_qlora_hub.metadata.tables import StoredFile
from fin_qlora_hub.stores.blobs import Content


def hold(session: Session, repository_id: int, content: Content) -> None:
    """Note that a repository holds a content from now on; what is known of it stays."""
    known = session.get(StoredFile, (repository_id, content.sha256))
    if known is not None:
        known.sent_at = datetime.now(UTC)
        return
    grow(session, repository_id, content.sha256, size=content.size)
    session.add(
        StoredFile(
            repository_id=repository_id,
            sha256=content.sha256,
            git_sha1=content.git_sha1,
            size=content.size,
        )
    )
