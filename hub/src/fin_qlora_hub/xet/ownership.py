"""Which xorbs a namespace may build files from: what it sent, and what its own files hold.

Knowing a hash is not enough, and what another namespace sent is as good as absent.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.metadata.tables import Repository, XetFile, XetSegment, Xorb, XorbOwner
from fin_qlora_hub.xet.shards import Segment
from fin_qlora_hub.xet.store import StagedXorb, StoredXorb, XorbStore

# The time of the last touch need not be exact: collection waits for weeks.
TOUCH_AGAIN = timedelta(hours=6)
_VALUES_PER_QUERY = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stored_xorbs(session: Session, xorbs: Collection[str]) -> dict[str, StoredXorb]:
    """Return those of the xorbs that are stored, whoever sent them."""
    wanted = list(xorbs)
    found = {}
    for start in range(0, len(wanted), _VALUES_PER_QUERY):
        part = wanted[start : start + _VALUES_PER_QUERY]
        for row in session.scalars(select(Xorb).where(Xorb.hash.in_(part))):
            found[row.hash] = stored(row)
    return found


def stored(row: Xorb) -> StoredXorb:
    """Return what the metadata says of a xorb."""
    return StoredXorb(row.hash, row.size, row.chunks, made_of(row.created_at))


def made_of(moment: datetime) -> int:
    """Return when a xorb took its place, as its store counts it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def made_at(xorb: StoredXorb) -> datetime:
    """Return when a xorb took its place, as the metadata keep it."""
    return _EPOCH + timedelta(microseconds=xorb.made)


def owned(session: Session, namespace_id: int, xorbs: Collection[str]) -> set[str]:
    """Return those of the xorbs that the namespace sent."""
    wanted = list(xorbs)
    found: set[str] = set()
    for start in range(0, len(wanted), _VALUES_PER_QUERY):
        part = wanted[start : start + _VALUES_PER_QUERY]
        query = select(XorbOwner.xorb).filter_by(namespace_id=namespace_id)
        found.update(session.scalars(query.where(XorbOwner.xorb.in_(part))))
    return found


def still_there(
    session: Session, store: XorbStore, namespace_id: int, xorbs: Collection[str]
) -> set[str]:
    """Return those of the xorbs that the namespace sent and that have not been lost since."""
    mine = owned(session, namespace_id, xorbs)
    return store.present(stored_xorbs(session, mine).values())


def is_due(session: Session, namespace_id: int, xorb: str) -> bool:
    """Say whether the last touch is so long ago that it should be renewed, or may be gone."""
    owner = session.get(XorbOwner, (namespace_id, xorb))
    return owner is None or datetime.now(UTC) - owner.touched_at > TOUCH_AGAIN


def touch(session: Session, namespace_id: int, xorbs: Iterable[str]) -> bool:
    """Note that a client is told of these xorbs, so that they stay for some weeks.

    Return False where the namespace owns one of them no longer: then it must not be told.
    """
    now = datetime.now(UTC)
    all_owned = True
    for xorb in xorbs:
        owner = session.get(XorbOwner, (namespace_id, xorb))
        if owner is None:
            all_owned = False
        else:
            owner.touched_at = now
    return all_owned


def keep_xorb(session: Session, store: XorbStore, staged: StagedXorb, *, namespace_id: int) -> bool:
    """Store a xorb for a namespace; return False if it had sent the same before.

    It takes its place inside the writing transaction, as it would be removed inside one.
    """
    now = datetime.now(UTC)
    row = session.get(Xorb, staged.hash)
    placed = store.publish(staged, None if row is None else stored(row))
    if row is None:
        row = Xorb(hash=staged.hash, chunks=placed.chunks)
        session.add(row)
    row.size, row.created_at = placed.size, made_at(placed)
    session.flush()
    owner = session.get(XorbOwner, (namespace_id, staged.hash))
    if owner is not None:
        owner.touched_at = now
        return False
    session.add(XorbOwner(namespace_id=namespace_id, xorb=staged.hash, touched_at=now))
    return True


def require_usable(
    session: Session, namespace_id: int, segments: Sequence[Segment]
) -> Mapping[str, StoredXorb]:
    """Return the xorbs of the segments if the namespace may build a file from all of them."""
    names = {segment.xorb for segment in segments}
    known = stored_xorbs(session, names)
    borrowed = names - owned(session, namespace_id, names)
    covered = _covered(session, namespace_id, borrowed & known.keys())
    for segment in segments:
        if segment.xorb in borrowed and not _within(segment, covered[segment.xorb]):
            # The same words whether it is absent or another's.
            raise BadRequestError(
                f"The file refers to chunks of the xorb {segment.xorb}, which was not sent to this "
                "namespace: send it first, or remove the client's cache (HF_XET_CACHE)."
            )
    return known


def _covered(
    session: Session, namespace_id: int, xorbs: Collection[str]
) -> defaultdict[str, list[tuple[int, int]]]:
    """Return the runs of chunks of some xorbs that files of the namespace hold, merged."""
    runs: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for xorb in xorbs:
        rows = session.execute(
            select(XetSegment.chunk_start, XetSegment.chunk_end)
            .join(XetFile, XetFile.id == XetSegment.file_id)
            .join(Repository, Repository.id == XetFile.repository_id)
            .where(XetSegment.xorb == xorb, Repository.namespace_id == namespace_id)
            .order_by(XetSegment.chunk_start)
        )
        merged = runs[xorb]
        for start, end in rows:
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
    return runs


def _within(segment: Segment, runs: Iterable[tuple[int, int]]) -> bool:
    return any(start <= segment.start and segment.end <= end for start, end in runs)
