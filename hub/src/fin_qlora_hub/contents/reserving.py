"""Room that is kept for uploads before their bytes move."""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy.orm import Session

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.quotas import quota_of, reserve
from fin_qlora_hub.metadata.tables import Namespace


def reserve_room(
    database: Database, namespace_id: int, sizes: Mapping[str, int], *, seconds: int
) -> None:
    """Keep room in a namespace's quota; one without a quota costs a look and no more.

    Raises QuotaExceededError.
    """
    with database.reading() as session:
        limited = quota_of(session, namespace_id) is not None
    if limited and sizes:
        with database.writing() as session:
            reserve(session, namespace_id, sizes, lasting=timedelta(seconds=seconds))


def set_quota(session: Session, namespace: Namespace, quota: int | None) -> None:
    """Give a namespace a quota in bytes: UNLIMITED, or None for the server's default."""
    namespace.quota_bytes = quota
    session.flush()
    record(session, Act.QUOTA_CHANGED, namespace=namespace.name, quota=quota)
