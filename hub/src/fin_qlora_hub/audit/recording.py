"""What goes on record in batches, so that nobody waits for it: reads, and what was refused.

Whoever reads much makes few records: all files of one commit that somebody had from one address in
two seconds are one. A server that is killed loses what it noted in the last two seconds.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.audit.acting import Actor, Means, who_acts
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import Entry, Place, record_all
from fin_qlora_hub.errors import OperationalError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import Namespace
from fin_qlora_hub.periodic import Periodic

FLUSH_SECONDS = 2.0
MAX_FILES = 200
# Whoever asks for what they may not do must not fill the database; strangers least of all.
MAX_REFUSED, MAX_REFUSED_TO_STRANGERS = 20, 3
# Beyond this the database has been away for long, and memory counts more.
MAX_WAITING = 100_000
MAX_PATH = 300
_OTHERS = "and others"
_logger = logging.getLogger("fin_qlora_hub")
# How contents were had: by the address of the file, by a token for its chunks, by their places.
Way = Literal["file", "token", "chunks"]
_NAMED = {"file": "files", "token": "revisions", "chunks": "xet_hashes"}


@dataclass(frozen=True, slots=True)
class _Key:
    """What is the same of things that become one record."""

    act: Act
    name: str | int | None
    token: str | None
    address: str | None
    place: Place | None
    about: tuple[str | None, ...]


@dataclass(slots=True)
class _Noted:
    """When it began, by which request, and what was named how often."""

    at: datetime
    request: str | None
    named: Counter[str] = field(default_factory=Counter)


class Recorder:
    """Notes in memory; one thread of its own puts on record what was noted, every few seconds."""

    def __init__(self, database: Database, *, reads: bool) -> None:
        self._database = database
        self._reads = reads
        self._noted: dict[_Key, _Noted] = {}
        self._full: list[tuple[_Key, _Noted]] = []
        self._waiting = 0
        self._lost = 0
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._periodic = Periodic(self.flush, name="recorder", seconds=lambda: FLUSH_SECONDS)

    def read(
        self,
        place: Place,
        named: str,
        *,
        way: Way,
        commit: str | None = None,
        user_id: int | None = None,
    ) -> None:
        """Note that the present actor has a content; `user_id` is who, where only that is known."""
        if self._reads:
            self._note(Act.CONTENTS_READ, place, (way, commit), named, user_id=user_id)

    def refused(self, method: str, path: str, *, code: str) -> None:
        """Note that the present actor asked for what they may not do."""
        self._note(Act.REQUEST_REFUSED, None, (method, code), path[:MAX_PATH])

    def flush(self) -> None:
        """Put on record what was noted; a busy or full database leaves it for the next time."""
        with self._flushing:
            with self._guard:
                noted = [*self._full, *self._noted.items()]
                lost, waiting = self._lost, self._waiting
                self._noted, self._full, self._lost, self._waiting = {}, [], 0, 0
            if not noted and not lost:
                return
            try:
                with self._database.writing() as session:
                    record_all(session, _entries(session, noted, lost=lost))
            except OperationalError as error:
                _logger.warning("reads are put on record later: %s", error)
                with self._guard:
                    self._full = [*noted, *self._full]
                    self._lost += lost
                    self._waiting += waiting
            except Exception:
                _logger.exception("some of what was noted cannot be put on record")
                self._flush_each(noted, lost=lost)

    def _flush_each(self, noted: list[tuple[_Key, _Noted]], *, lost: int) -> None:
        """Put on record each by itself: one that the database refuses must not hide the others."""
        for one in noted:
            try:
                with self._database.writing() as session:
                    record_all(session, _entries(session, [one], lost=0))
            except OperationalError:
                with self._guard:
                    self._full.append(one)
                    self._waiting += len(one[1].named)
            except Exception:
                lost += one[1].named.total()
        with self._guard:
            self._lost += lost

    def close(self) -> None:
        """Put on record the rest and end the thread."""
        self._periodic.close()

    def _note(
        self,
        act: Act,
        place: Place | None,
        about: tuple[str | None, ...],
        named: str,
        *,
        user_id: int | None = None,
    ) -> None:
        actor = who_acts()
        name = actor.name if user_id is None else user_id
        key = _Key(act, name, actor.token, actor.address, place, about)
        with self._guard:
            if self._waiting >= MAX_WAITING:
                self._lost += 1
                return
            noted = self._noted.get(key)
            if noted is None:
                noted = self._noted[key] = _Noted(datetime.now(UTC), actor.request)
            if act is Act.REQUEST_REFUSED and named not in noted.named:
                most = MAX_REFUSED_TO_STRANGERS if name is None else MAX_REFUSED
                named = named if len(noted.named) < most else _OTHERS
            noted.named[named] += 1
            if noted.named[named] == 1:
                self._waiting += 1
            if len(noted.named) >= MAX_FILES:
                self._full.append((key, self._noted.pop(key)))
        self._periodic.begin()


def _entries(session: Session, noted: Iterable[tuple[_Key, _Noted]], *, lost: int) -> list[Entry]:
    found = list(noted)
    numbers = {key.name for key, _ in found if isinstance(key.name, int)}
    query = select(Namespace.id, Namespace.name).where(Namespace.id.in_(numbers))
    names = {number: name for number, name in session.execute(query)} if numbers else {}  # noqa: C416
    entries = []
    for key, one in found:
        name = names.get(key.name) if isinstance(key.name, int) else key.name
        actor = Actor(Means.REQUEST, name, key.token, key.address, one.request)
        entries.append(Entry(key.act, actor, one.at, key.place, _details(key, one)))
    if lost:
        entries.append(Entry(Act.CONTENTS_READ, Actor(), datetime.now(UTC), None, {"lost": lost}))
    return entries


def _details(key: _Key, one: _Noted) -> dict[str, Any]:
    requests = sum(one.named.values())
    if key.act is Act.REQUEST_REFUSED:
        method, code = key.about
        return {"method": method, "code": code, "paths": sorted(one.named), "requests": requests}
    way, commit = key.about
    what = {"way": way, _NAMED[way or ""]: sorted(one.named), "requests": requests}
    return what if commit is None else {**what, "commit": commit}
