"""Removing contents that nothing uses any more, once no client can still count on them.

hf_xet remembers for three weeks what it sent or was told of, and does not send that again: a xorb
stays for longer than that after the last time. A content that was sent but never committed gets the
same time.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.locking import collection_lock
from fin_qlora_hub.metadata.quotas import recount
from fin_qlora_hub.metadata.tables import (
    MirrorContent,
    Repository,
    StoredFile,
    TreeEntry,
    XetFile,
    XetSegment,
    Xorb,
    XorbOwner,
)
from fin_qlora_hub.stores.publishing import removing
from fin_qlora_hub.xet.ownership import stored_xorbs
from fin_qlora_hub.xet.store import KeptXorb, StoredXorb

# Three weeks, and a day for clocks that differ.
GRACE = timedelta(days=22)
# Whoever downloads may have been told where a copy lies that counted until a moment ago.
_STILL_READ = timedelta(hours=1)
_AT_ONCE = 100
_Thing = TypeVar("_Thing")


@dataclass(frozen=True)
class Collected:
    """What was removed, or would be: numbers, and the bytes that it took on the disk."""

    uncommitted: int = 0
    xorbs: int = 0
    contents: int = 0
    size: int = 0

    def __add__(self, other: "Collected") -> "Collected":
        return Collected(
            self.uncommitted + other.uncommitted,
            self.xorbs + other.xorbs,
            self.contents + other.contents,
            self.size + other.size,
        )


def collect(hub: Hub, *, dry_run: bool = False) -> Collected:
    """Remove what is unused for long; a server may run meanwhile.

    Every removal happens inside a writing transaction, like every arrival: neither can miss the
    other. A crash leaves at most files that no one names, which the next run removes.
    """
    # Waits for a backup to end.
    with collection_lock(hub.settings, hub.database, exclusive=True):
        return _collect(hub, dry_run=dry_run)


def _collect(hub: Hub, *, dry_run: bool) -> Collected:
    if not dry_run:
        hub.parts.remove_old()
        hub.storage.remove_old()
    before = datetime.now(UTC) - GRACE
    total = _forget_uncommitted(hub, before, dry_run=dry_run)
    total += _remove_xorbs(hub, before, dry_run=dry_run)
    total += _remove_strangers(hub, before, dry_run=dry_run)
    total += _remove_contents(hub, before, dry_run=dry_run)
    if not dry_run:
        with hub.database.writing() as session:
            record(session, Act.CONTENTS_COLLECTED, **asdict(total))
    return total


def _forget_uncommitted(hub: Hub, before: datetime, *, dry_run: bool) -> Collected:
    with hub.database.reading() as session:
        repositories = list(session.scalars(select(Repository.id)))
    count = 0
    for number in repositories:
        with hub.database.reading() as session:
            names = _uncommitted(session, number, before)
        if names and not dry_run:
            with hub.database.writing() as session:
                names = _uncommitted(session, number, before)
                for start in range(0, len(names), _AT_ONCE):
                    part = names[start : start + _AT_ONCE]
                    for kind in (XetFile, StoredFile):
                        mine = kind.repository_id == number
                        session.execute(delete(kind).where(mine, kind.sha256.in_(part)))
                recount(session, number)
        count += len(names)
    return Collected(uncommitted=count)


def _uncommitted(session: Session, number: int, before: datetime) -> list[str]:
    # Not correlated: the tree entries are read once, not once for each content.
    committed = select(TreeEntry.sha256).where(
        TreeEntry.repository_id == number, TreeEntry.sha256.is_not(None)
    )
    young = (
        select(XetFile.id)
        .where(
            XetFile.repository_id == number,
            XetFile.sha256 == StoredFile.sha256,
            XetFile.created_at >= before,
        )
        .exists()
    )
    query = select(StoredFile.sha256).where(
        StoredFile.repository_id == number,
        StoredFile.sent_at < before,
        StoredFile.sha256.not_in(committed),
        ~young,
    )
    return list(session.scalars(query))


def _remove_xorbs(hub: Hub, before: datetime, *, dry_run: bool) -> Collected:
    with hub.database.reading() as session:
        candidates = _dead_xorbs(session, before)
    if dry_run:
        return _counted(candidates)
    total = Collected()
    for start in range(0, len(candidates), _AT_ONCE):
        names = [row.hash for row in candidates[start : start + _AT_ONCE]]
        with hub.database.writing() as session:
            dead = _dead_xorbs(session, before, among=names)
            total += _counted(dead)
            gone = [row.hash for row in dead]
            session.execute(delete(XorbOwner).where(XorbOwner.xorb.in_(gone)))
            session.execute(delete(Xorb).where(Xorb.hash.in_(gone)))
        # Without a row the file is nobody's; `_remove_strangers` takes it, under the lock again.
    return total


def _dead_xorbs(
    session: Session, before: datetime, *, among: Sequence[str] | None = None
) -> list[Xorb]:
    used = select(XetSegment.file_id).where(XetSegment.xorb == Xorb.hash).exists()
    recent = (
        select(XorbOwner.xorb)
        .where(XorbOwner.xorb == Xorb.hash, XorbOwner.touched_at >= before)
        .exists()
    )
    query = select(Xorb).where(~used, ~recent, Xorb.created_at < before)
    if among is not None:
        query = query.where(Xorb.hash.in_(among))
    return list(session.scalars(query))


def _counted(rows: Sequence[Xorb]) -> Collected:
    return Collected(xorbs=len(rows), size=sum(row.size for row in rows))


def _remove_strangers(hub: Hub, before: datetime, *, dry_run: bool) -> Collected:
    """Remove xorbs that no row names: a crash left them, or this run their rows."""
    if dry_run:
        return Collected()
    for kept in _in_parts(hub.xorbs.files.kept()):
        # A xorb takes its place inside the writing transaction: here none is half-way.
        with hub.database.writing() as session:
            known = stored_xorbs(session, {xorb.hash for xorb in kept})
            for xorb in kept:
                if xorb.hash not in known or _is_superseded(xorb, known[xorb.hash]):
                    hub.xorbs.files.remove(xorb)
    return Collected()


def _is_superseded(kept: KeptXorb, known: StoredXorb) -> bool:
    """Say whether another copy counts, and did before anybody was told where this one lies."""
    newest = (datetime.now(UTC) - _STILL_READ).timestamp() * 1_000_000
    return kept.made not in (None, known.made) and known.made < newest


def _remove_contents(hub: Hub, before: datetime, *, dry_run: bool) -> Collected:
    total = Collected()
    moment = before.timestamp()
    old = (name for name, sent_at in hub.blobs.contents() if sent_at < moment)
    with nullcontext() if dry_run else removing(hub.database):
        for names in _in_parts(old):
            with hub.database.writing() as session:
                query = select(StoredFile.sha256).where(StoredFile.sha256.in_(names))
                coming = select(MirrorContent.sha256).where(MirrorContent.sha256.in_(names))
                used = {*session.scalars(query), *session.scalars(coming)}
                unused = sorted(set(names) - used)
                removed = hub.blobs.remove_unused(unused, before=moment, dry_run=dry_run)
            total += Collected(contents=len(removed), size=sum(removed.values()))
    return total


def _in_parts(things: Iterable[_Thing]) -> Iterator[list[_Thing]]:
    part: list[_Thing] = []
    for thing in things:
        part.append(thing)
        if len(part) == _AT_ONCE:
            yield part
            part = []
    if part:
        yield part
