"""The connection to the metadata: one transaction for each reading or writing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import (
    BusyError,
    NotInitialisedError,
    OperationalError,
    StorageFullError,
    UnusableDataError,
)

BUSY_TIMEOUT_SECONDS = 30
_DAMAGED = ("no such table", "no such column", "malformed", "not a database", "unable to open")


class Database:
    """A SQLite file in write-ahead-log mode, shared by threads and by the command line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = make_engine(path)
        # The lock is taken at the start: two writers queue up, they never find themselves
        # half-way through with a stale view.
        self._writing = self._reading.execution_options(immediate=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a consistent view that sees no later change."""
        with faults_named(self.path), Session(self._reading, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open the one writing transaction: all of it happens, or on any error none."""
        with faults_named(self.path), Session(self._writing) as session, session.begin():
            session.connection()  # takes the lock now, not at the first statement
            yield session

    def close(self) -> None:
        """Let go of every connection."""
        self._reading.dispose()


def open_database(path: Path, *, create: bool = False) -> Database:
    """Open the database of a data directory; only `create` makes a new one."""
    if not create and not path.is_file():
        raise NotInitialisedError(
            f"{path.parent} is not the data directory of a hub: "
            f"run `fin-qlora-hub init --data-dir {path.parent}` first."
        )
    return Database(path)


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """Turn what the surroundings do to the database into a sentence for the administrator."""
    try:
        yield
    except DatabaseError as error:
        fault = _fault(str(error.orig), path)
        if fault is None:
            raise
        raise fault from error


def _fault(text: str, path: Path) -> OperationalError | None:
    if "is locked" in text:
        return BusyError("The hub is busy: nothing was changed. Try again in a moment.")
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


def make_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """Return an engine whose transactions this module begins; SQLite's own driver must not."""

    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        _prepare(connection, foreign_keys=foreign_keys)

    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=20,
        max_overflow=40,
    )
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, *, foreign_keys: bool) -> None:
    connection.isolation_level = None  # `_begin` opens transactions, not the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
