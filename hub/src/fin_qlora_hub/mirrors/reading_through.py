"""Repositories of another hub that come here when somebody reads them.

What is here is given at once, however old it is; whether it is still so is looked up behind the
reader's back, no more often than the settings say. What is not here is described first, and its
large files come when somebody downloads them: all who wait for one read the same growing file.
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.visibility import RepositoryName
from fin_qlora_hub.contents.awaited import Awaited, find_awaited
from fin_qlora_hub.contents.storage import Source, Storage
from fin_qlora_hub.errors import (
    BusyError,
    HubError,
    NotFetchedError,
    RevisionNotFoundError,
    UpstreamError,
)
from fin_qlora_hub.git.references import look_up
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.tables import Mirror
from fin_qlora_hub.mirrors.mirroring import Mirroring
from fin_qlora_hub.mirrors.registry import allows, checked_at, find_mirror, may_read
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores.blobs import Content

DESCRIBERS = 4
MAX_WAITING = 64
MAX_LOOKS = 10_000
# How long a refusal counts: one that would be the same again, and one of the moment.
LASTING_SECONDS = 60.0
PASSING_SECONDS = 30.0
NEVER_SECONDS = 24 * 60 * 60.0
_PAUSE_SECONDS = 0.3
_COMMIT = re.compile(r"[0-9a-f]{40}")
_logger = logging.getLogger("fin_qlora_hub")


@dataclass
class Look:
    """One look at a revision on the other hub; `done` once it has ended.

    `problem` is why it is not here then, where there is more to say than that it is not there.
    """

    done: Future[None] = field(default_factory=Future)
    until: float = 0.0
    problem: str | None = None


@dataclass
class Arrival:
    """A file that is being fetched: it grows at `path`, up to `size` bytes.

    Its last byte is for nobody before all of them are `verified`. In the end it is `stored`, or
    there is a `problem`.
    """

    path: Path
    size: int
    verified: bool = False
    stored: bool = False
    problem: str | None = None
    until: float = 0.0


@dataclass(frozen=True)
class Standing:
    """Whether a caller may read what is mirrored under a name, and whether it is here."""

    allowed: bool
    here: bool


class ReadThrough:
    """Looks and fetches in threads of its own, each thing once however many wait for it."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        storage: Storage,
        *,
        without: Collection[str] = (),
    ) -> None:
        """Begin; nothing is mirrored in the namespaces `without`, which are this hub's own."""
        self._settings = settings
        self._without = {namespace.lower() for namespace in without}
        self._database = database
        self._mirroring = Mirroring(settings, database, storage)
        self._guard = threading.Lock()
        self._looks: OrderedDict[tuple[str, str, str], Look] = OrderedDict()
        self._arrivals: dict[tuple[int, str], Arrival] = {}
        self._describers = ThreadPoolExecutor(DESCRIBERS, thread_name_prefix="describer")
        self._fetchers = ThreadPoolExecutor(settings.mirror_downloads, thread_name_prefix="fetcher")

    def is_known(self, name: RepositoryName, revision: str) -> bool:
        """Say, from memory alone, that there is nothing to look up."""
        if name.namespace.lower() in self._without or not allows(self._settings, name):
            return True
        with self._guard:
            look = self._looks.get(_key(name, revision))
            return (
                look is not None and look.done.done() and _now() < look.until and not look.problem
            )

    def standing(self, name: RepositoryName, revision: str, caller: Caller) -> Standing:
        """Look into the metadata of this hub alone."""
        with self._database.reading() as session:
            if not may_read(session, self._settings, name, caller):
                return Standing(allowed=False, here=False)
            mirror = find_mirror(session, name)
            here = mirror is not None and _readable(session, mirror, revision)
            return Standing(allowed=True, here=here)

    def look(self, name: RepositoryName, revision: str) -> Look:
        """Return the look at a revision that is under way or still counts, or begin one."""
        key = _key(name, revision)
        with self._guard:
            known = self._looks.get(key)
            if known is not None and (not known.done.done() or _now() < known.until):
                return known
            look = self._looks[key] = Look()
            self._looks.move_to_end(key)
            while len(self._looks) > MAX_LOOKS:
                self._looks.popitem(last=False)
            waiting = sum(not one.done.done() for one in list(self._looks.values())[-MAX_WAITING:])
            if waiting >= MAX_WAITING:
                look.problem, look.until = "too much is being fetched at once", _now()
                look.done.set_result(None)
                return look
        self._start(self._describers, self._describe, name, revision, look)
        return look

    def fetch(self, session: Session, repository_id: int, sha256: str) -> Arrival | None:
        """Return a large file of a mirrored repository on its way, or None if it has come.

        Raises BusyError where too many are on their way.
        """
        found = find_awaited(session, repository_id, sha256)
        if found is None:
            return None
        mirror_id, name, awaited = found
        key = mirror_id, sha256
        with self._guard:
            known = self._arrivals.get(key)
            if known is not None and (known.problem is None or _now() < known.until):
                return known
            running = sum(one.problem is None for one in self._arrivals.values())
            if running >= self._settings.mirror_downloads:
                raise BusyError(
                    f"{running} files of mirrored repositories are being fetched: try again in a "
                    "moment."
                )
            path = self._mirroring.fetcher.place(name, sha256)
            arrival = self._arrivals[key] = Arrival(path, awaited.content.size)
        self._start(self._fetchers, self._bring, mirror_id, name, awaited, arrival)
        return arrival

    def close(self) -> None:
        """End what is under way; it goes on from there another time."""
        self._mirroring.close()
        for pool in (self._describers, self._fetchers):
            pool.shutdown(wait=True, cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, work: Callable[..., None], *what: object) -> None:
        # In the context of whoever asked: what comes of it is on record as their doing.
        pool.submit(copy_context().run, work, *what)

    def _describe(self, name: RepositoryName, revision: str, look: Look) -> None:
        fresh = self._settings.mirror_fresh_seconds
        try:
            with self._database.reading() as session:
                left = self._still_fresh(session, name, revision)
            if left is None:
                self._mirroring.take(name, revision, whole=False)
                left = fresh
            look.until = _now() + left
        except UpstreamError as error:
            if not error.absent:
                look.problem = str(error)
                _logger.warning("%s@%s is not mirrored: %s", name, revision, error)
            look.until = _now() + (LASTING_SECONDS if error.lasting else PASSING_SECONDS)
        except HubError as error:
            look.problem, look.until = str(error), _now() + PASSING_SECONDS
            _logger.warning("%s@%s is not mirrored: %s", name, revision, error)
        except Exception:
            look.problem, look.until = "the hub failed; its log says why", _now() + LASTING_SECONDS
            _logger.exception("%s@%s is not mirrored", name, revision)
        finally:
            look.done.set_result(None)

    def _still_fresh(self, session: Session, name: RepositoryName, revision: str) -> float | None:
        """Return for how many seconds what is here need not be looked up, None if it must be."""
        mirror = find_mirror(session, name)
        if mirror is None or not _readable(session, mirror, revision):
            return None
        if _COMMIT.fullmatch(revision):
            return NEVER_SECONDS
        if mirror.whole:
            return self._settings.mirror_fresh_seconds  # an administrator says when it moves
        moment = checked_at(session, mirror, revision)
        if moment is None:  # `main` of a repository of which others are mirrored
            return None
        age = (datetime.now(UTC) - moment).total_seconds()
        left = self._settings.mirror_fresh_seconds - age
        return left if left > 0 else None

    def _bring(
        self, mirror_id: int, name: RepositoryName, awaited: Awaited, arrival: Arrival
    ) -> None:
        key = mirror_id, awaited.content.sha256

        def verified() -> None:
            arrival.verified = True

        try:
            while not self._mirroring.bring(mirror_id, name, awaited, on_verified=verified):
                self._mirroring.fetcher.pause(_PAUSE_SECONDS)  # another server fetches it
            arrival.stored = True
            with self._guard:
                del self._arrivals[key]
            return
        except HubError as error:
            problem = str(error)
            _logger.warning("%s of %s does not come: %s", awaited.path, name, error)
        except Exception:
            problem = "the hub failed; its log says why"
            _logger.exception("%s of %s does not come", awaited.path, name)
        arrival.until = _now() + PASSING_SECONDS
        arrival.problem = problem


def open_source(
    storage: Storage,
    mirror: ReadThrough | None,
    session: Session,
    repository_id: int,
    content: Content,
) -> tuple[Source, Arrival | None]:
    """Find a content that is known to belong to a repository; it may be on its way."""
    try:
        found = storage.source(session, repository_id, content.sha256, size=content.size)
    except NotFetchedError:
        if mirror is None:
            raise
        arrival = mirror.fetch(session, repository_id, content.sha256)
        return Source(storage, content.sha256, content.size, None), arrival
    return found, None


def _readable(session: Session, mirror: Mirror, revision: str) -> bool:
    if mirror.repository_id is None:
        return False
    try:
        look_up(session, mirror.repository_id, revision)
    except RevisionNotFoundError:
        return False
    return True


def _key(name: RepositoryName, revision: str) -> tuple[str, str, str]:
    return name.kind, str(name).lower(), revision


def _now() -> float:
    return time.monotonic()
