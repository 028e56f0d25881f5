"""Taking revisions of repositories from another hub: described, fetched, verified, then shown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore

from sqlalchemy.orm import Session

from fin_qlora_hub.access.names import check_path
from fin_qlora_hub.access.visibility import RepositoryName
from fin_qlora_hub.cards.descriptions import keep_card, make_card
from fin_qlora_hub.contents.awaited import (
    Awaited,
    arrived,
    known_contents,
    note_fetched,
    still_to_come,
    stored_bytes,
    to_come,
)
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import ForbiddenError, IllegalPathError, NotFoundError, UpstreamError
from fin_qlora_hub.git.references import DEFAULT_BRANCH, resolve
from fin_qlora_hub.git.trees import FileEntry, all_files, build_tree
from fin_qlora_hub.gitobjects import lfs_pointer, object_id
from fin_qlora_hub.metadata.database import Database
from fin_qlora_hub.metadata.quotas import require_room
from fin_qlora_hub.metadata.tables import Mirror, Repository
from fin_qlora_hub.mirrors.fetching import Fetcher
from fin_qlora_hub.mirrors.registry import (
    Taken,
    begin,
    find_mirror,
    is_here,
    keep,
    note_problem,
    point,
)
from fin_qlora_hub.mirrors.upstream import Found, Upstream, UpstreamFile
from fin_qlora_hub.outgoing import Outgoing
from fin_qlora_hub.settings import MIB, Settings
from fin_qlora_hub.stores.blobs import Content, StagedBlob
from fin_qlora_hub.stores.publishing import Published, publish
from fin_qlora_hub.text import quoted, shortened

# Files up to this size come with the description of a revision, as all that stands in git itself.
SMALL_BYTES = MIB
MAX_SMALL_BYTES = 256 * MIB
_WAIT_SECONDS = 0.5
_NOTED_AT_ONCE = 200


@dataclass(frozen=True)
class Mirrored:
    """A revision that is here now, under the id that it has on the other hub."""

    name: str
    revision: str
    commit: str
    new: bool


class Mirroring:
    """Takes revisions from the hub that the settings name."""

    def __init__(self, settings: Settings, database: Database, storage: Storage) -> None:
        self._settings = settings
        self._database = database
        self._storage = storage
        self._upstream = Upstream(settings, Outgoing.of(settings))
        self._slots = BoundedSemaphore(settings.mirror_downloads)
        self.fetcher = Fetcher(settings.mirror_path, storage.blobs, self._upstream)

    def close(self) -> None:
        """End what is being fetched; it goes on from there another time."""
        self.fetcher.stop.set()
        self._upstream.close()

    def take(self, wanted: RepositoryName, revision: str, *, whole: bool) -> Mirrored:
        """Make a revision readable here, as it is on the other hub.

        A `whole` one only once every file is here; else its large files come when they are asked
        for. Raises UpstreamError, or ForbiddenError where a branch or tag is protected here; what
        was here before stays as it is, and what was fetched is not fetched again.
        """
        try:
            found = self._upstream.find(wanted, revision)
            try:
                return self._take(found, revision, whole=whole)
            except IllegalPathError as error:
                raise UpstreamError(f"{wanted} cannot be kept: {error}", lasting=True) from error
        except (UpstreamError, ForbiddenError) as error:
            with self._database.writing() as session:
                mirror = find_mirror(session, wanted)
                if mirror is not None:
                    note_problem(session, mirror, revision, str(error))
            raise

    def bring(
        self,
        mirror_id: int,
        name: RepositoryName,
        awaited: Awaited,
        *,
        on_verified: Callable[[], None] = lambda: None,
    ) -> bool:
        """Fetch a content that a visible revision names; False while another process does so."""
        content = awaited.content
        with self._database.reading() as session:
            if not still_to_come(session, mirror_id, content.sha256):
                return True
            self._require_room(session, mirror_id, name, content.size)
        file = UpstreamFile(awaited.path, "", content.size, content.sha256)
        fetched = self.fetcher.large(name, awaited.oid, file, on_verified=on_verified)
        if fetched is None:
            return False
        try:
            published = publish(self._database, self._storage.blobs, [fetched])
            with self._database.writing() as session:
                published.confirm(session)
                mirror = session.get(Mirror, mirror_id)
                if mirror is not None and mirror.repository_id is not None:  # else it was removed
                    arrived(session, mirror, [content])
        finally:
            fetched.discard()
        self.fetcher.forget(name, content.sha256)
        return True

    def _take(self, found: Found, revision: str, *, whole: bool) -> Mirrored:
        with self._database.writing() as session:
            mirror = begin(session, found.name, upstream=self._upstream.address, whole=whole)
            number, whole = mirror.id, mirror.whole
            here = is_here(session, mirror, found.oid)
            if here:
                point(session, mirror, found.reference, found.oid)
                self._keep_card(session, session.get_one(Repository, mirror.repository_id))
        if not here:
            self._describe(number, found, whole=whole)
        if whole:
            self._complete(number, found.name)
        return Mirrored(str(found.name), revision, found.oid, not here)

    def _describe(self, number: int, found: Found, *, whole: bool) -> None:
        """Fetch what must be here before a revision is seen, then let it be seen."""
        files = self._upstream.files(found.name, found.oid)
        described = self._upstream.commit(found.name, found.oid)
        sizes: dict[str, int] = {}
        for file in files:
            self._check(found.name, file)
            _require_size(found.name, file, sizes.setdefault(_id(file), file.size))
        with self._database.reading() as session:
            known = _by_id(known_contents(session, _mirror(session, number)))
            known = {i: c for i, c in known.items() if self._storage.blobs.holds(c.sha256)}
            for file in files:
                if (content := known.get(_id(file))) is not None:
                    _require_size(found.name, file, content.size)
            wanted = {_id(file): file for file in files if whole or _comes_first(file)}
            lacking = [file for i, file in wanted.items() if i not in known]
            size = sum(file.size for file in lacking)
            self._require_room(session, number, found.name, size)
        if not whole and size > MAX_SMALL_BYTES:
            raise UpstreamError(
                f"{found.name} has {size:,} bytes of small files there, too many to fetch while "
                f"somebody waits: run `fin-qlora-hub mirror add {found.name}`.",
                lasting=True,
            )
        known |= _by_id(self._fetch(number, found, lacking))
        entries = {file.path: _entry(file, known) for file in files}
        held, missing = {}, {}
        for file in files:
            content = entries[file.path].content
            if _id(file) in known:
                held[content.sha256] = content
            else:
                missing[content.sha256] = Awaited(content, file.path, found.oid)
        taken = Taken(
            name=found.name,
            oid=found.oid,
            reference=found.reference,
            tree=build_tree(entries),
            described=described,
            held=list(held.values()),
            to_come=[one for sha256, one in missing.items() if sha256 not in held],
        )
        with self._database.writing() as session:
            mirror = _mirror(session, number)
            self._keep_card(session, keep(session, self._settings, mirror, taken))

    def _keep_card(self, session: Session, repository: Repository) -> None:
        head = resolve(session, repository, DEFAULT_BRANCH)
        files = all_files(session, repository.id, head.tree_oid)
        card = make_card(session, self._storage, repository, files, staged={})
        keep_card(session, repository, card)

    def _check(self, name: RepositoryName, file: UpstreamFile) -> None:
        if check_path(file.path) != file.path:
            raise UpstreamError(
                f"{name} has {quoted(file.path)} there, which is not in the form in which this hub "
                "keeps paths.",
                lasting=True,
            )
        if file.size > self._settings.max_file_bytes:
            raise UpstreamError(
                f"{shortened(file.path)} of {name} has {file.size:,} bytes, more than "
                "FIN_QLORA_HUB_MAX_FILE_BYTES.",
                lasting=True,
            )

    def _require_room(self, session: Session, number: int, name: RepositoryName, more: int) -> None:
        mirror = _mirror(session, number)
        require_room(session, mirror.namespace_id, more)
        limits = (
            (stored_bytes(session, mirror), self._settings.mirror_repository_bytes, "REPOSITORY"),
            (stored_bytes(session), self._settings.mirror_total_bytes, "TOTAL"),
        )
        for used, limit, what in limits:
            if used + more > limit:
                raise UpstreamError(
                    f"{name} needs {more:,} bytes more here, beyond the {limit:,} of "
                    f"FIN_QLORA_HUB_MIRROR_{what}_BYTES: ask the administrator.",
                    lasting=True,
                )

    def _fetch(self, number: int, found: Found, files: Sequence[UpstreamFile]) -> list[Content]:
        """Fetch files, some at a time; what has come is remembered even if another fails."""
        done: list[Content] = []
        unnoted: list[tuple[Awaited, Published | None]] = []

        def note() -> None:
            with self._database.writing() as session:
                for _, published in unnoted:
                    if published is not None:
                        published.confirm(session)
                _mirror(session, number)
                note_fetched(session, number, [one for one, _ in unnoted])
            for one, published in unnoted:
                self.fetcher.forget(found.name, one.content.sha256)
                for staged in () if published is None else published.staged:
                    staged.discard()
            unnoted.clear()

        with self._workers() as pool:
            running = {pool.submit(self._fetch_one, number, found, file): file for file in files}
            try:
                for future in as_completed(running):
                    (content, published), file = future.result(), running[future]
                    done.append(content)
                    unnoted.append((Awaited(content, file.path, found.oid), published))
                    if content.size > SMALL_BYTES or len(unnoted) >= _NOTED_AT_ONCE:
                        note()
            finally:
                if unnoted:
                    note()
        return done

    @contextmanager
    def _workers(self) -> Iterator[ThreadPoolExecutor]:
        """Work in several threads; where one fails the others end what they do, and no more."""
        with ThreadPoolExecutor(self._settings.mirror_downloads) as pool:
            try:
                yield pool
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, Exception):
                    self.close()  # somebody interrupts, and does not want to wait
                raise

    def _fetch_one(
        self, number: int, found: Found, file: UpstreamFile
    ) -> tuple[Content, Published | None]:
        """Fetch and publish a file; without the latter where another process has done so."""
        with self._slots:
            while (staged := self._staged(found, file)) is None:
                self.fetcher.pause(_WAIT_SECONDS)  # another process fetches it
                with self._database.reading() as session:
                    known = known_contents(session, _mirror(session, number))
                    if (content := _by_id(known).get(_id(file))) is not None:
                        return content, None
            return staged.content, publish(self._database, self._storage.blobs, [staged])

    def _staged(self, found: Found, file: UpstreamFile) -> StagedBlob | None:
        if _comes_first(file):
            return self.fetcher.small(found.name, found.oid, file)
        return self.fetcher.large(found.name, found.oid, file)

    def _complete(self, number: int, name: RepositoryName) -> None:
        """Fetch what visible revisions name and nobody has asked for yet."""
        with self._database.reading() as session:
            missing = to_come(session, number)

        def fetch(one: Awaited) -> None:
            while not self.bring(number, name, one):
                self.fetcher.pause(_WAIT_SECONDS)

        with self._workers() as pool:
            for future in [pool.submit(fetch, one) for one in missing]:
                future.result()


def _mirror(session: Session, number: int) -> Mirror:
    mirror = session.get(Mirror, number)
    if mirror is None:
        raise NotFoundError("This mirror was removed while its files were on their way.")
    return mirror


def _require_size(name: RepositoryName, file: UpstreamFile, size: int) -> None:
    if file.size != size:
        raise UpstreamError(
            f"{shortened(file.path)} of {name} has {file.size:,} bytes there and the hash of a "
            f"content of {size:,}: one of them is wrong, and nothing was taken.",
            lasting=True,
        )


def _comes_first(file: UpstreamFile) -> bool:
    return file.sha256 is None or file.size <= SMALL_BYTES


def _id(file: UpstreamFile) -> str:
    """Return by what the other hub names a content: its SHA-256, or its git id."""
    return file.sha256 or file.oid


def _by_id(contents: Iterable[Content]) -> dict[str, Content]:
    found = {}
    for content in contents:
        found[content.sha256] = content
        if content.git_sha1 is not None:
            found[content.git_sha1] = content
    return found


def _entry(file: UpstreamFile, known: dict[str, Content]) -> FileEntry:
    """Present a file as the other hub does, so that it has the same id here."""
    if file.sha256 is None:
        return FileEntry(file.oid, known[file.oid], large=False)
    content = Content(file.sha256, None, file.size)
    return FileEntry(object_id("blob", lfs_pointer(file.sha256, file.size)), content, large=True)
