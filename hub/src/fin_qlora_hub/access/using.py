"""When tokens were last used, to the hour, at no cost for those who use them."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.errors import OperationalError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import Token
from fin_qlora_hub.periodic import Periodic

FLUSH_SECONDS = 60.0
PRECISION = timedelta(hours=1)
MAX_KNOWN = 100_000
_logger = logging.getLogger("fin_qlora_hub")


class TokenUses:
    """Remembers in memory; one thread of its own writes it down every minute."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._now = now
        self._noted: dict[int, datetime] = {}
        self._pending: dict[int, datetime] = {}
        self._guard = threading.Lock()
        self._flushing = Periodic(self.flush, name="token-uses", seconds=lambda: FLUSH_SECONDS)

    def note(self, caller: Caller) -> None:
        """Remember that a token was used; never waits for the database."""
        now = self._now()
        last = self._noted.get(caller.token_id, caller.token_used_at)
        if last is not None and now - last < PRECISION:
            return
        with self._guard:
            if len(self._noted) >= MAX_KNOWN:
                self._noted.clear()
            self._noted[caller.token_id] = self._pending[caller.token_id] = now
        self._flushing.begin()

    def flush(self) -> None:
        """Write down what was noted; a busy or full database leaves it for the next time."""
        with self._guard:
            pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            with self._database.writing() as session:
                for number, when in pending.items():
                    session.execute(
                        update(Token).where(Token.id == number).values(last_used_at=when)
                    )
        except OperationalError as error:
            _logger.warning("the use of tokens is written down later: %s", error)
            with self._guard:
                self._pending = pending | self._pending

    def close(self) -> None:
        """Write down the rest and end the thread."""
        self._flushing.close()
