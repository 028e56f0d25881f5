"""Room that is kept for uploads before their bytes move."""

from collections.abc import Mapping
from datetime import timedelta

from fin_qlora_hub.database import Database
from fin_qlora_hub.quotas import quota_of, reserve


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
