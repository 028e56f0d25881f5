"""Who may use a data directory at once: one server on SQLite, several on PostgreSQL."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sqlalchemy import URL

from fin_qlora_hub.errors import AlreadyServedError
from fin_qlora_hub.metadata import postgresql
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.settings import Settings

# How long another server may take to sweep before this one sees that it does not share.
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class DataDirLock:
    """A lock on a data directory; `alone` says that no other server runs on it at this moment."""

    alone: bool
    _handle: IO[str]

    def let_others_in(self) -> None:
        """Share the directory with servers that do the same."""
        fcntl.flock(self._handle, fcntl.LOCK_SH)


@contextmanager
def lock_data_dir(settings: Settings, *, exclusive: bool = False) -> Iterator[DataDirLock]:
    """Take a data directory, alone where possible; raises AlreadyServedError.

    Servers on one PostgreSQL database may share it; with `exclusive` no one may.
    """
    with settings.lock_path.open("a") as handle:
        alone = _taken(handle, fcntl.LOCK_EX)
        if not alone and not (
            settings.database_url is not None and not exclusive and _shared(handle)
        ):
            raise AlreadyServedError(
                f"{settings.data_dir} is already served by another process: stop it first, "
                "or choose another --data-dir."
            )
        yield DataDirLock(alone, handle)


@contextmanager
def collection_lock(settings: Settings, database: Database, *, exclusive: bool) -> Iterator[None]:
    """Keep unused contents from being collected for a while, or be the one who collects them.

    All servers on one PostgreSQL database share the lock, wherever they run.
    """
    if isinstance(database.place, URL):
        with postgresql.held(database.engine, postgresql.COLLECTION, exclusive=exclusive):
            yield
    else:
        with held(settings.collection_lock_path, exclusive=exclusive):
            yield


@contextmanager
def held(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a lock file while others may hold it too, or while nobody else does."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def _shared(handle: IO[str]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not _taken(handle, fcntl.LOCK_SH):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _taken(handle: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
