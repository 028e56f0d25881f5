"""What is different where the metadata is in PostgreSQL, which several servers may share.

Whoever writes holds one advisory lock until the transaction ends, as SQLite lets in one writer at a
time. A writer sees what others have written before it got the lock; a reader sees one state.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from sqlalchemy import URL, Connection, Engine, Inspector, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError

from fin_qlora_hub.errors import (
    BadRequestError,
    BusyError,
    HubError,
    StorageFullError,
    UnreachableError,
    UnusableDataError,
)

_logger = logging.getLogger("fin_qlora_hub")
READING = MappingProxyType({"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
# Not "repeatable": the view would be from before the lock.
WRITING = MappingProxyType(
    {"isolation_level": "READ COMMITTED", "postgresql_readonly": False, "exclusive": True}
)
CONNECT_SECONDS = 10
# A server that dies with its machine must not hold the lock until the network notices by itself.
_SESSION = MappingProxyType(
    {
        "timezone": "UTC",
        "tcp_keepalives_idle": 30,
        "tcp_keepalives_interval": 10,
        "tcp_keepalives_count": 3,
        "idle_in_transaction_session_timeout": 10 * 60 * 1000,
    }
)
# Any number does, as long as all servers take the same: this one is "finhub" in ASCII.
_WRITERS_LOCK = int.from_bytes(b"finhub")
# What a backup and a collection of unused contents cannot hold at once: "collec" in ASCII.
COLLECTION = int.from_bytes(b"collec")
_LOCK_TIMEOUT = "55P03"
_FULL = ("53100",)
_TOO_MANY = ("53300",)
_LOST = ("57P01", "57P02", "57P03")
_NO_TABLE = ("42P01", "42703")
_READ_ONLY = ("25006",)
_TEXT_TYPES = ("character varying", "text")


def make_engine(url: URL, *, patience: float, connections: int) -> Engine:
    """Return an engine; `patience` is how many seconds a writer waits for those before it."""
    if find_spec("psycopg") is None:
        raise UnusableDataError(
            "The metadata is in PostgreSQL, and its driver is missing: "
            "`pip install 'fin-qlora-hub[postgresql]'`."
        )
    engine = create_engine(
        url,
        connect_args={
            "application_name": "fin-qlora-hub",
            "connect_timeout": CONNECT_SECONDS,
            "options": " ".join(
                f"-c {name}={value}"
                for name, value in {"lock_timeout": int(patience * 1000), **_SESSION}.items()
            ),
        },
        pool_size=connections,
        max_overflow=0,
        pool_pre_ping=True,  # a restart of the database costs no request
    )
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def held(engine: Engine, lock: int, *, exclusive: bool) -> Iterator[None]:
    """Hold an advisory lock that all servers share, on a connection of its own; waits for it."""
    kind = "" if exclusive else "_shared"
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as connection:
        connection.exec_driver_sql("SET lock_timeout = 0")
        try:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock{kind}({lock})")
            yield
        finally:
            connection.invalidate()  # which lets go of the lock, and of the patience


def fault(error: DatabaseError, place: str) -> HubError | None:
    """Return what a failure of the database means for whoever meets it."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == _LOCK_TIMEOUT:
        return BusyError("The hub is busy: nothing was changed. Try again in a moment.")
    if state in _FULL:
        return StorageFullError(
            "The disk of the hub's database is full: nothing was changed. Ask the administrator "
            "to free space."
        )
    if state in _TOO_MANY:
        return BusyError("The hub's database has no free connection. Try again in a moment.")
    if error.connection_invalidated or state in _LOST or state.startswith("08"):
        return UnreachableError()
    if state in _NO_TABLE:
        return UnusableDataError(f"{place} is not the database of a hub, or lacks a table.")
    if state in _READ_ONLY:
        return UnusableDataError(f"{place} cannot be written: is it a copy that only reads?")
    if "NUL (0x00)" in str(error.orig):
        return BadRequestError("No name or text may hold the character NUL.")
    if not state and type(error.orig).__name__ == "OperationalError":  # no connection was made
        reason = str(error.orig).strip().split("\n")[0]
        _logger.error("the database cannot be reached: %s", reason)
        return UnreachableError(reason)
    return None


def forms(connection: Connection) -> tuple[set[str], str | None]:
    """Return the names of the tables, and what alembic noted about their form."""
    tables = set(_inspected(connection).get_table_names())
    form = None
    if "alembic_version" in tables:
        form = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return tables, form


def order_by_bytes(connection: Connection) -> None:
    """Give every column of text the order of its bytes, whatever language the database has.

    Cursors, ranges of names and abbreviated hashes rely on that order, which SQLite has anyway.
    """
    columns = connection.execute(
        text(
            "SELECT c.table_name, c.column_name, c.data_type, c.character_maximum_length "
            "FROM information_schema.columns c "
            "JOIN information_schema.tables t USING (table_schema, table_name) "
            "WHERE table_schema = current_schema() AND t.table_type = 'BASE TABLE' "
            "AND c.data_type = ANY(:types) AND c.collation_name IS DISTINCT FROM 'C'"
        ),
        {"types": list(_TEXT_TYPES)},
    ).all()
    quote = connection.dialect.identifier_preparer.quote
    for table, column, kind, length in columns:
        size = f"({length})" if length else ""
        connection.execute(
            text(
                f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} "
                f'TYPE {kind}{size} COLLATE "C"'
            )
        )


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("exclusive", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


def _inspected(connection: Connection) -> Inspector:
    inspector: Any = inspect(connection)
    assert isinstance(inspector, Inspector)
    return inspector
