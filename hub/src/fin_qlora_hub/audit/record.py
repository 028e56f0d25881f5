"""The hub's record of acts: written with each act or not at all, and chained so that it stays.

Each record has the next number and a digest over all that it says and over the digest of the record
before it. A record that was changed, removed or moved breaks the chain. What was cut off at the end
is found by the number and digest of the last record, which the hub keeps beside, and which an
administrator can keep elsewhere (`fin-qlora-hub audit head`).
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.audit.acting import Actor, who_acts
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.metadata.tables import AuditRecord, HubState, Repository

# What stands before the first record.
NOTHING = "0" * 64
_HEAD = "audit_head"
_ROWS_AT_ONCE = 1000
_state, _records = HubState.__table__, AuditRecord.__table__
_READ_HEAD = select(_state.c.value).where(_state.c.name == _HEAD)
_WRITE_HEAD = update(HubState).where(HubState.name == _HEAD)
_INSERT = insert(AuditRecord)


@dataclass(frozen=True)
class Head:
    """The number and the digest of a record; of the last one if nothing else is said."""

    sequence: int
    digest: str

    def __str__(self) -> str:
        return f"{self.sequence} {self.digest}"


@dataclass(frozen=True)
class Place:
    """A repository as a record names it: by its number, and by the name that it has then."""

    id: int
    name: str


@dataclass(frozen=True)
class Entry:
    """Something to be recorded, by whom and when."""

    act: Act
    actor: Actor
    at: datetime
    place: Place | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Search:
    """Which records to list; every condition must hold. `after` is a number."""

    after: int = 0
    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    repository: str | None = None
    act: str | None = None


def record(
    session: Session, act: Act, repository: Repository | None = None, /, **what: Any
) -> None:
    """Put on record what the present actor does, in the very transaction that does it.

    The session must be a writing one. `what` holds plain values and never a secret.
    """
    place = None if repository is None else place_of(repository)
    record_all(session, [Entry(act, who_acts(), datetime.now(UTC), place, what)])


def record_all(session: Session, entries: list[Entry]) -> None:
    """Put several things on record, in order."""
    connection = session.connection()  # what the session still holds back is not ours to write
    head = _head(connection.scalar(_READ_HEAD))
    rows = []
    for entry in entries:
        row = _row(entry, sequence=head.sequence + 1, former=head.digest)
        head = Head(row["sequence"], row["digest"])
        rows.append(row)
    if rows:
        connection.execute(_INSERT, rows)
        connection.execute(_WRITE_HEAD.values(value=str(head)))


def place_of(repository: Repository) -> Place:
    """Return how records name a repository."""
    name = f"{repository.namespace.name}/{repository.name}"
    return named_place(repository.id, repository.kind, name)


def named_place(number: int, kind: str, name: str) -> Place:
    """Return how records name a repository of this number, kind and full name."""
    return Place(number, name if kind == "model" else f"{kind}s/{name}")


def read_head(session: Session) -> Head:
    """Return what the hub believes its last record to be."""
    return _head(session.connection().scalar(_READ_HEAD))


def find(session: Session, wanted: Search, *, limit: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of a search, oldest first, as they are exported."""
    query = select(*_records.c).where(_records.c.sequence > wanted.after)
    if wanted.since is not None:
        query = query.where(_records.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(_records.c.at < wanted.until)
    if wanted.actor is not None:
        query = query.where(_records.c.actor == wanted.actor)
    if wanted.act is not None:
        query = query.where(_records.c.act == wanted.act)
    if wanted.repository is not None:  # whatever it was called before and after
        named = select(_records.c.repository_id).where(_records.c.repository == wanted.repository)
        query = query.where(_records.c.repository_id.in_(named))
    for row in _rows(session, query.order_by(_records.c.sequence).limit(limit)):
        yield shown(row)


def read_rows(
    session: Session, acts: Collection[Act], *, after: int, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield records of these kinds that come after a number, oldest first."""
    names = sorted(act.value for act in acts)
    query = select(*_records.c).where(_records.c.sequence > after, _records.c.act.in_(names))
    for row in _rows(session, query.order_by(_records.c.sequence).limit(limit)):
        yield dict(row)


def last_words(session: Session, repository_id: int) -> dict[str, Any] | None:
    """Return what the record says of a repository at its deletion."""
    query = select(_records.c.details).where(
        _records.c.repository_id == repository_id, _records.c.act == Act.REPOSITORY_DELETED.value
    )
    found: dict[str, Any] | None = session.connection().scalar(query)
    return found


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as it is exported: `digest` is that of the rest in canonical JSON."""
    return {**_body(row), "digest": row["digest"]}


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the one way to write a record: sorted, without spaces, in UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def verify(session: Session, kept: list[Head]) -> Iterator[str]:
    """Yield a sentence for each break of the chain; `kept` are heads that were noted before."""
    known = {head.sequence: head for head in kept}
    last = Head(0, NOTHING)
    for row in _rows(session, select(*_records.c).order_by(_records.c.sequence)):
        number = row["sequence"]
        if number != last.sequence + 1:
            yield f"Records {last.sequence + 1} to {number - 1} are missing."
        elif row["former"] != last.digest:
            yield f"Record {number} does not follow record {last.sequence} as it is."
        if _digest(row) != row["digest"]:
            yield f"Record {number} was changed: it does not have its digest."
        last = Head(number, row["digest"])
        head = known.pop(number, last)
        if head != last:
            yield f"Record {number} is not the one that was noted before."
    believed = read_head(session)
    if believed.sequence > last.sequence:
        yield f"Records {last.sequence + 1} to {believed.sequence} are missing at the end."
    elif believed != last:
        yield f"The record ends with {last.sequence}, which is not what the hub wrote last."
    for head in known.values():
        yield f"Record {head.sequence}, which was noted before, is missing."


def _rows(session: Session, query: Select[Any]) -> Iterator[Mapping[str, Any]]:
    options = query.execution_options(yield_per=_ROWS_AT_ONCE)
    with session.connection().execute(options) as found:
        for row in found.mappings():
            yield dict(row)


def _row(entry: Entry, *, sequence: int, former: str) -> dict[str, Any]:
    actor, place = entry.actor, entry.place
    row: dict[str, Any] = {
        "sequence": sequence,
        "at": entry.at,
        "act": entry.act.value,
        "means": actor.means.value,
        "actor": actor.name,
        "token": actor.token,
        "address": actor.address,
        "request": actor.request,
        "repository_id": None if place is None else place.id,
        "repository": None if place is None else place.name,
        "details": dict(entry.details),
        "former": former,
    }
    return {**row, "digest": _digest(row)}


def _digest(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(_body(row))).hexdigest()


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    body = {name: row[name] for name in _records.c.keys() if name != "digest"}  # noqa: SIM118
    body["at"] = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
    return body


def _head(value: str | None) -> Head:
    number, _, digest = (value or f"0 {NOTHING}").partition(" ")
    return Head(int(number), digest)
