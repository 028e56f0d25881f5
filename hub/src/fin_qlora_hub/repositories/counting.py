"""Downloads, counted without keeping anyone from a file."""

import logging
import threading
from collections import Counter

from sqlalchemy import update

from fin_qlora_hub.errors import OperationalError
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import Repository
from fin_qlora_hub.periodic import Periodic

FLUSH_SECONDS = 2.0
_logger = logging.getLogger("fin_qlora_hub")


class DownloadCounter:
    """Counts in memory; one thread of its own writes the sums down every few seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: Counter[int] = Counter()
        self._guard = threading.Lock()
        self._flushing = Periodic(self.flush, name="downloads", seconds=lambda: FLUSH_SECONDS)

    def count(self, repository_id: int) -> None:
        """Add one to the downloads of a repository, soon; never waits for the database."""
        with self._guard:
            self._pending[repository_id] += 1
        self._flushing.begin()

    def flush(self) -> None:
        """Write down what was counted; a busy or full database leaves it for the next time."""
        with self._guard:
            pending, self._pending = self._pending, Counter()
        if not pending:
            return
        try:
            with self._database.writing() as session:
                for repository_id, downloads in pending.items():
                    session.execute(
                        update(Repository)
                        .where(Repository.id == repository_id)
                        .values(downloads=Repository.downloads + downloads)
                    )
        except OperationalError as error:
            _logger.warning("downloads are counted later: %s", error)
            with self._guard:
                self._pending += pending

    def close(self) -> None:
        """Write down the rest and end the thread."""
        self._flushing.close()
