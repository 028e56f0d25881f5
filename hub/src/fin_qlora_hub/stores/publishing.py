"""Contents that become readable before the transaction that names them.

They are published outside the writing transaction, since that may take long. A collection of unused
contents that runs at that very moment might remove one again: it says so in the metadata, and then
whoever publishes looks once more, inside the transaction, where no collection can be half-way.
"""

import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import HubState
from fin_qlora_hub.stores.blobs import BlobStore, StagedBlob

_STATE = "removals"
_RUNNING = "running"


@dataclass(frozen=True)
class Published:
    """Contents that were published, and what was said of removals before that."""

    blobs: BlobStore
    staged: tuple[StagedBlob, ...]
    state: str

    def also(self, staged: StagedBlob) -> "Published":
        """Return the same with a content that was published in another way since."""
        return replace(self, staged=(*self.staged, staged))

    def confirm(self, session: Session) -> None:
        """Publish again what may have been removed since; the session must be a writing one."""
        state = _state(session)
        if self.staged and (state == _RUNNING or state != self.state):
            self.blobs.publish(self.staged)


def publish(database: Database, blobs: BlobStore, staged: Collection[StagedBlob]) -> Published:
    """Make received bytes readable and durable; whoever names them confirms it there."""
    with database.reading() as session:
        state = _state(session)
    blobs.publish(staged)
    return Published(blobs, tuple(staged), state)


@contextmanager
def removing(database: Database) -> Iterator[None]:
    """Say for a while that contents are being removed, and afterwards that some have been.

    A crash leaves it said: then whoever publishes looks twice, until the next collection has ended.
    """
    _note(database, _RUNNING)
    yield
    _note(database, secrets.token_hex(8))


def _state(session: Session) -> str:
    found = session.get(HubState, _STATE)
    return "" if found is None else found.value


def _note(database: Database, value: str) -> None:
    with database.writing() as session:
        session.merge(HubState(name=_STATE, value=value))
