"""The key with which the hub signs: changed by command, and noticed by servers that run."""

import logging
import threading
import time

from sqlalchemy.orm import Session

from fin_qlora_hub.access.signing import Keys, Signer, new_key
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import HubError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import HubState

REFRESH_SECONDS = 5.0
# Nothing that the hub signs is good for longer.
LONGEST_SECONDS = 6 * 60 * 60
PRESENT, FORMER = "signing_key", "former_signing_key"
_logger = logging.getLogger("fin_qlora_hub")


def read_keys(session: Session) -> Keys:
    """Return the keys that count now."""
    present = bytes.fromhex(session.get_one(HubState, PRESENT).value)
    former = session.get(HubState, FORMER)
    if former is None:
        return Keys(present)
    key, _, ends = former.value.partition(" ")
    return Keys(present, bytes.fromhex(key), float(ends))


def change_key(session: Session, *, at_once: bool) -> None:
    """Sign with another key from now on.

    What was signed before counts until it ends, or no longer where the key may be known to others
    (`at_once`).
    """
    row = session.get_one(HubState, PRESENT)
    former = session.get(HubState, FORMER)
    if at_once:
        if former is not None:
            session.delete(former)
    else:
        value = f"{row.value} {int(time.time()) + LONGEST_SECONDS}"
        session.merge(HubState(name=FORMER, value=value))
    row.value = new_key()
    record(session, Act.SIGNING_KEY_CHANGED, at_once=at_once)


class KeyWatch:
    """Gives the signer of a hub the keys that count, soon after they were changed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.reading() as session:
            self.signer = Signer(read_keys(session))
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look again every few seconds, in a thread of its own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(REFRESH_SECONDS):
            try:
                with self._database.reading() as session:
                    self.signer.keys = read_keys(session)
            except HubError as error:
                _logger.warning("the signing key could not be read: %s", error)
