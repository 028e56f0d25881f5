"""The parts of one running hub, put together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fin_qlora_hub.blobs import BlobStore, LocalBlobStore
from fin_qlora_hub.database import Database, open_database
from fin_qlora_hub.settings import Settings


@dataclass(frozen=True)
class Hub:
    """What every request needs: how to behave, where the metadata is, where the contents are."""

    settings: Settings
    database: Database
    blobs: BlobStore


def initialise(settings: Settings) -> str:
    """Make or bring up to date a data directory; return the form of its tables."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    LocalBlobStore(settings.blobs_path)
    database = open_database(settings.database_path, create=True)
    try:
        return database.migrate()
    finally:
        database.close()


@contextmanager
def open_hub(settings: Settings) -> Iterator[Hub]:
    """Open an initialised data directory for a while; raises NotInitialisedError."""
    database = open_database(settings.database_path)
    try:
        yield Hub(settings, database, LocalBlobStore(settings.blobs_path))
    finally:
        database.close()
