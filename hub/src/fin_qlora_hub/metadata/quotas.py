"""How many bytes a namespace may keep, counted as contents come and never by looking at them all.

A content counts in full for each repository that holds it, as `usedStorage` shows it. What is
announced, or came in chunks that no file uses yet, is reserved: it counts until it is held or its
time is over. Nothing is written down for namespaces without a quota but the sums.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import BadRequestError, QuotaExceededError
from fin_qlora_hub.metadata.tables import Namespace, Repository, Reservation, StoredFile
from fin_qlora_hub.text import quoted

UNLIMITED = -1
# Who may only propose changes fills no more than this part of a quota: the rest is its owner's.
PROPOSED_PART = 2
_DEFAULT, _GROWN, _SPENT, _PROPOSED = "default_quota", "grown", "spent", "proposed"
_VALUES_PER_QUERY = 500
_SIZE = re.compile(
    r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,6})?)\s*(?P<prefix>[KMGTP]?)(?P<binary>i?)B?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Usage:
    """The bytes of a namespace: held, reserved, and allowed (None: any number)."""

    namespace: str
    stored: int
    reserved: int
    quota: int | None


def read_size(text: str) -> int | None:
    """Read a quota: `50GB`, `1.5 TiB`, `unlimited`, or `default` (None); raises BadRequestError."""
    words = {"default": None, "unlimited": UNLIMITED}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise BadRequestError(f"{quoted(text)} is no size: write 50GB, 1.5TiB, or 'unlimited'.")
    number, prefix, binary = found["number"], found["prefix"].upper(), found["binary"]
    size = Decimal(number) * (1024 if binary else 1000) ** " KMGTP".index(prefix or " ")
    if size >= 2**62:
        raise BadRequestError(f"{quoted(text)} is more than any disk holds: say 'unlimited'.")
    return int(size)


def set_default(session: Session, quota: int | None) -> None:
    """Say what counts for namespaces that have no quota of their own."""
    session.info[_DEFAULT] = quota


def propose(session: Session) -> None:
    """Say that all that this session lets come is sent by somebody who may only propose changes."""
    session.info[_PROPOSED] = True


def quota_of(session: Session, namespace_id: int) -> int | None:
    """Return how many bytes a namespace may keep; None where there is no limit."""
    own = session.connection().scalar(
        select(Namespace.quota_bytes).where(Namespace.id == namespace_id)
    )
    return _effective(session, own)


def usage(session: Session, namespace: Namespace) -> Usage:
    """Return what a namespace keeps and may keep."""
    stored, reserved = _stored(session, namespace.id), _reserved(session, namespace.id)
    return Usage(namespace.name, stored, reserved, quota_of(session, namespace.id))


def usages(session: Session) -> list[Usage]:
    """Return those of all namespaces, by name."""
    query = select(Namespace).order_by(Namespace.name_key)
    return [usage(session, namespace) for namespace in session.scalars(query)]


def require_room(session: Session, namespace_id: int, size: int) -> int | None:
    """Return how many bytes more may come; None if any.

    Raises QuotaExceededError where `size` bytes are too many.
    """
    quota = _open_quota(session, namespace_id)
    if quota is None:
        return None
    used = _stored(session, namespace_id) + _reserved(session, namespace_id)
    if size and used + size > quota:
        raise _exceeded(session, namespace_id, size=size, used=used, quota=quota)
    return max(quota - used, 0)


def reserve(
    session: Session, namespace_id: int, sizes: Mapping[str, int], *, lasting: timedelta
) -> None:
    """Keep room for what is to come, each under a name; the same name again replaces it.

    The session must be a writing one. Raises QuotaExceededError, and then nothing is reserved.
    """
    quota = quota_of(session, namespace_id)
    if quota is None:
        return
    now = datetime.now(UTC)
    session.execute(
        delete(Reservation).where(
            Reservation.namespace_id == namespace_id, Reservation.ends_at <= now
        )
    )
    _forget(session, namespace_id, sizes)
    used = _stored(session, namespace_id) + _reserved(session, namespace_id)
    size = sum(sizes.values())
    if used + size > quota:
        raise _exceeded(session, namespace_id, size=size, used=used, quota=quota)
    session.add_all(
        Reservation(namespace_id=namespace_id, name=name, size=size, ends_at=now + lasting)
        for name, size in sizes.items()
    )


def content_to_come(repository_id: int, sha256: str) -> str:
    """Return the name under which room is kept for a content."""
    return f"{repository_id}:{sha256}"


def xorb_to_come(xorb: str) -> str:
    """Return the name under which room is kept for a xorb that no file uses yet."""
    return f"xorb:{xorb}"


def grow(session: Session, repository_id: int, sha256: str, *, size: int) -> None:
    """Count a content that a repository holds from now on; it counts when the session ends."""
    session.info.setdefault(_GROWN, Counter())[repository_id] += size
    spend(session, [content_to_come(repository_id, sha256)])


def spend(session: Session, names: Iterable[str]) -> None:
    """Give back the room that was kept under some names: what was to come is there."""
    session.info.setdefault(_SPENT, set()).update(names)


def recount(session: Session, repository_id: int) -> None:
    """Count anew what a repository holds, after some of it was taken away."""
    session.flush()
    size = select(func.coalesce(func.sum(StoredFile.size), 0)).where(
        StoredFile.repository_id == repository_id
    )
    session.execute(
        update(Repository)
        .where(Repository.id == repository_id)
        .values(stored_bytes=size.scalar_subquery()),
        execution_options={"synchronize_session": False},
    )


def settle(session: Session) -> None:
    """Write down what was counted; the last act of each writing transaction.

    Raises QuotaExceededError, and then nothing of the transaction happens.
    """
    grown: Counter[int] = session.info.pop(_GROWN, Counter())
    spent: set[str] = session.info.pop(_SPENT, set())
    if not grown:
        return
    session.flush()
    owners: dict[int, int] = {}
    for repository_id, size in grown.items():
        session.execute(
            update(Repository)
            .where(Repository.id == repository_id)
            .values(stored_bytes=Repository.stored_bytes + size),
            execution_options={"synchronize_session": False},
        )
        owner = session.scalar(
            select(Repository.namespace_id).where(Repository.id == repository_id)
        )
        if owner is not None:
            owners[owner] = owners.get(owner, 0) + size
    for namespace_id, size in owners.items():
        quota = _open_quota(session, namespace_id)
        if quota is None:
            continue
        _forget(session, namespace_id, spent)
        used = _stored(session, namespace_id) + _reserved(session, namespace_id)
        if used > quota:
            raise _exceeded(session, namespace_id, size=size, used=used - size, quota=quota)


def _open_quota(session: Session, namespace_id: int) -> int | None:
    """Return how far whoever sends may fill a namespace."""
    quota = quota_of(session, namespace_id)
    proposed = session.info.get(_PROPOSED, False)
    return quota // PROPOSED_PART if proposed and quota is not None else quota


def _effective(session: Session, own: int | None) -> int | None:
    default: Any = session.info.get(_DEFAULT)
    quota = default if own is None else own
    return None if quota is None or quota == UNLIMITED else int(quota)


def _stored(session: Session, namespace_id: int) -> int:
    query = select(func.coalesce(func.sum(Repository.stored_bytes), 0))
    return int(
        session.connection().scalar(query.where(Repository.namespace_id == namespace_id)) or 0
    )


def _reserved(session: Session, namespace_id: int) -> int:
    query = select(func.coalesce(func.sum(Reservation.size), 0)).where(
        Reservation.namespace_id == namespace_id, Reservation.ends_at > datetime.now(UTC)
    )
    return int(session.connection().scalar(query) or 0)


def _forget(session: Session, namespace_id: int, names: Collection[str]) -> None:
    whole = sorted(names)
    for start in range(0, len(whole), _VALUES_PER_QUERY):
        part = whole[start : start + _VALUES_PER_QUERY]
        session.execute(
            delete(Reservation).where(
                Reservation.namespace_id == namespace_id, Reservation.name.in_(part)
            )
        )


def _exceeded(
    session: Session, namespace_id: int, *, size: int, used: int, quota: int
) -> QuotaExceededError:
    name = session.scalar(select(Namespace.name).where(Namespace.id == namespace_id))
    if session.info.get(_PROPOSED, False):
        return QuotaExceededError(
            f"{size:,} bytes more are too many for a proposal to {name!r}: those who may not write "
            f"there fill no more than {quota:,} bytes of its quota, and {used:,} are used or "
            "reserved. Ask its members to make room, or to send the files themselves."
        )
    return QuotaExceededError(
        f"{size:,} bytes more are too many for {name!r}: it may keep {quota:,} bytes, and {used:,} "
        "are used or reserved. Remove repositories, or large files from their history (`hf repos "
        "delete`, permanently delete LFS files), or ask the administrator of the hub for more."
    )
