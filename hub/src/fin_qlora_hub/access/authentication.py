"""Whose token a request shows, remembered for as long as nobody changes anything."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from fin_qlora_hub.access.freshness import Watch
from fin_qlora_hub.access.identity import Caller, authenticate, digest_of
from fin_qlora_hub.metadata.database import Database

MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Remembered:
    caller: Caller
    version: int


class KnownCallers:
    """Looks tokens up, and remembers whose they are until the metadata change.

    A revoked token ends with the change that revokes it, whichever process makes that.
    """

    def __init__(
        self,
        database: Database,
        version: Watch,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        used: Callable[[Caller], None] = lambda _caller: None,
    ) -> None:
        self._database = database
        self._version = version
        self._now = now
        self._used = used
        self._remembered: dict[str, _Remembered] = {}

    def recall(self, secret: str) -> Caller | None:
        """Return whose token this is if that is certain without asking the database."""
        known = self._remembered.get(digest_of(secret))
        if known is None or known.version != self._version():
            return None
        ends = known.caller.token_expires_at
        if ends is not None and ends <= self._now():
            return None
        self._used(known.caller)
        return known.caller

    def look_up(self, secret: str) -> Caller:
        """Return whose token this is; raises InvalidTokenError."""
        version = self._version()  # before the look: what changes after it makes this stale
        with self._database.reading() as session:
            caller = authenticate(session, secret)
        self._used(caller)
        if version is not None:
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest_of(secret)] = _Remembered(caller, version)
        return caller
