"""The connection to the metadata: one transaction for each reading or writing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError as DatabaseOperationalError
from sqlalchemy.orm import Session

from fin_qlora_hub.errors import BusyError, NotInitialisedError, StorageFullError

BUSY_TIMEOUT_SECONDS = 30


class Database:
    """A SQLite file in write-ahead-log mode, shared by threads and by the command line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = _engine(path)
        # The lock is taken at the start: two writers queue up, they never find themselves
        # half-way through with a stale view.
        self._writing = self._reading.execution_options(immediate=True)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a consistent view that sees no later change."""
        with Session(self._reading, autoflush=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open the one writing transaction: all of it happens, or on any error none."""
        try:
            with Session(self._writing) as session, session.begin():
                session.connection()  # takes the lock now, not at the first statement
                yield session
        except DatabaseOperationalError as error:
            if "is locked" in str(error.orig):
                raise BusyError(
                    "The hub is busy: nothing was changed. Try again in a moment."
                ) from error
            if "disk is full" in str(error.orig):
                raise StorageFullError(
                    "The hub's disk is full: nothing was changed. "
                    "Ask the administrator to free space."
                ) from error
            raise

    def migrate(self) -> str:
        """Bring the tables to the newest form; return the name of that form."""
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        configuration = Config()
        configuration.set_main_option("script_location", "fin_qlora_hub:migrations")
        with self._writing.begin() as connection:
            configuration.attributes["connection"] = connection
            command.upgrade(configuration, "head")
        head = ScriptDirectory.from_config(configuration).get_current_head()
        assert head is not None
        return head

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


def _engine(path: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT_SECONDS},
        pool_size=20,
        max_overflow=40,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # `_begin` opens transactions, not the driver
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
