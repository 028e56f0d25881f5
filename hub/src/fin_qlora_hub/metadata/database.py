"""The connection to the metadata: one transaction for each reading or writing.

SQLite lets one writer in at a time by itself. On PostgreSQL an advisory lock does the same, so that
whatever holds inside a writing transaction holds on both, however many servers share a database.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import (
    BusyError,
    HubError,
    NotInitialisedError,
    StorageFullError,
    UnusableDataError,
)
from fin_qlora_hub.metadata import postgresql, quotas
from fin_qlora_hub.settings import Settings

BUSY_TIMEOUT_SECONDS = 30
# The file of a SQLite database, or the address of a PostgreSQL one.
Place = Path | URL
_BUSY = "The hub is busy: nothing was changed. Try again in a moment."
_DAMAGED = ("no such table", "no such column", "malformed", "not a database", "unable to open")


class Database:
    """Metadata shared by threads, by the command line and, on PostgreSQL, by other servers."""

    def __init__(self, place: Place, *, connections: int = 60) -> None:
        self.place = place
        engine = make_engine(place, connections=connections)
        self._reading = engine
        # The lock is taken at the start: two writers queue up, they never find themselves
        # half-way through with a stale view.
        self.default_quota: int | None = None
        self._writing = engine.execution_options(**_writing(place))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a consistent view that sees no later change."""
        with faults_named(self.place), Session(self._reading, autoflush=False) as session:
            if isinstance(self.place, URL):
                session.connection(execution_options=postgresql.READING)
            quotas.set_default(session, self.default_quota)
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open the one writing transaction: all of it happens, or on any error none."""
        with faults_named(self.place), Session(self._writing) as session, session.begin():
            session.connection()  # takes the lock now, not at the first statement
            quotas.set_default(session, self.default_quota)
            yield session
            quotas.settle(session)

    @property
    def engine(self) -> Engine:
        """Where connections come from that are neither reading nor writing."""
        return self._reading

    def close(self) -> None:
        """Let go of every connection."""
        self._reading.dispose()


def place_of(settings: Settings) -> Place:
    """Return where the metadata of a hub is."""
    if settings.database_url is None:
        return settings.database_path
    return make_url(settings.database_url.get_secret_value()).set(drivername="postgresql+psycopg")


def described(place: Place) -> str:
    """Return how messages call a database; never with its password."""
    return str(place) if isinstance(place, Path) else place.render_as_string(hide_password=True)


def how_to_initialise(place: Place) -> str:
    """Return what an administrator types to make the tables, or to bring them up to date."""
    if isinstance(place, Path):
        return f"`fin-qlora-hub init --data-dir {place.parent}`"
    return "`fin-qlora-hub init`"


def open_database(place: Place, *, create: bool = False, connections: int = 60) -> Database:
    """Open the database of a hub; only `create` makes a new file."""
    if isinstance(place, Path) and not create and not place.is_file():
        raise NotInitialisedError(
            f"{place.parent} is not the data directory of a hub: "
            f"run {how_to_initialise(place)} first."
        )
    return Database(place, connections=connections)


@contextmanager
def faults_named(place: Place) -> Iterator[None]:
    """Turn what the surroundings do to the database into a sentence for the administrator."""
    try:
        yield
    except PoolTimeoutError as error:
        raise BusyError(_BUSY) from error
    except DatabaseError as error:
        fault: HubError | None
        if isinstance(place, Path):
            fault = _fault(str(error.orig), place)
        else:
            fault = postgresql.fault(error, described(place))
        if fault is None:
            raise
        raise fault from error


def _fault(text: str, path: Path) -> HubError | None:
    if "is locked" in text:
        return BusyError(_BUSY)
    if "disk is full" in text:
        return StorageFullError(
            "The hub's disk is full: nothing was changed. Ask the administrator to free space."
        )
    if "readonly database" in text:
        return UnusableDataError(f"{path} cannot be written: check its owner and permissions.")
    if any(sign in text for sign in _DAMAGED):
        return UnusableDataError(
            f"{path} is not the database of a hub, or is damaged ({text}): put back a copy of it, "
            "or choose another --data-dir."
        )
    return None


def make_engine(place: Place, *, foreign_keys: bool = True, connections: int = 60) -> Engine:
    """Return an engine whose transactions this module begins; SQLite's own driver must not.

    `foreign_keys` counts for SQLite alone.
    """
    if isinstance(place, URL):
        return postgresql.make_engine(
            place, patience=BUSY_TIMEOUT_SECONDS, connections=min(connections, 60)
        )

    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        _prepare(connection, foreign_keys=foreign_keys)

    engine = create_engine(
        URL.create("sqlite", database=str(place)),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=20,
        max_overflow=40,
    )
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def writing_engine(place: Place) -> Engine:
    """Return an engine for one transaction that changes the tables themselves."""
    return make_engine(place, foreign_keys=False).execution_options(**_writing(place))


def _writing(place: Place) -> dict[str, Any]:
    return {"immediate": True} if isinstance(place, Path) else dict(postgresql.WRITING)


def _prepare(connection: sqlite3.Connection, *, foreign_keys: bool) -> None:
    connection.isolation_level = None  # `_begin` opens transactions, not the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
