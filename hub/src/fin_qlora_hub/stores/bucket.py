"""One bucket of an S3-compatible object store: calls that are tried again, and one clear error.

A store that answers an error now and then is not noticed. One that is gone is waited for once; then
every call fails at once until one succeeds again, so that nobody queues up behind it.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from fin_qlora_hub.errors import (
    AlreadyExistsError,
    StorageFullError,
    UnreachableError,
    UnusableDataError,
)
from fin_qlora_hub.settings import Settings

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

# What is read at once: every piece is a request of its own, so that one that fails costs little.
PIECE_BYTES = 2 * 1024 * 1024
# What is read as a whole, to be stored again: few readers do that at once.
WHOLE_PIECE_BYTES = 8 * 1024 * 1024
# Larger objects are sent in parts. Two at a time hold 16 MiB of memory.
PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
MAX_PARTS = 10_000
# Larger objects are not copied by the store: the call would last longer than one may.
MAX_COPIED_BYTES = 512 * 1024**2
# More cannot be sent at once.
MAX_PUT_BYTES = 5 * 1024**3
CONNECT_SECONDS = 5
AT_ONCE = 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
# What the driver says of an answer that will not change: wrong keys, no such bucket.
_FINAL = re.compile(r"status code: 4(?!08|29)\d\d")
# What is "not found" and is not the object.
_ELSEWHERE = re.compile("NoSuchUpload|NoSuchBucket")
_BEYOND = re.compile(r"status code: 416|InvalidRange")
_UPLOADS = 3
_PIECES_AHEAD = 1
# The object that says whose all others are.
_OWNER = "owner"
_CLOCK_SECONDS = 60
_Answer = TypeVar("_Answer")
_logger = logging.getLogger("fin_qlora_hub")


@dataclass(frozen=True)
class BucketPlace:
    """Where a bucket is, and how long to be patient with it; never shows its secrets."""

    name: str
    prefix: str
    endpoint: str | None
    region: str
    virtual_host: bool
    timeout: float
    patience: float

    @classmethod
    def of(cls, settings: Settings) -> "BucketPlace":
        """Read the settings of a hub that keeps its contents in a bucket."""
        assert settings.storage_url is not None
        parts = urlsplit(settings.storage_url)
        return cls(
            name=parts.netloc,
            prefix=parts.path.strip("/"),
            endpoint=settings.s3_endpoint,
            region=settings.s3_region,
            virtual_host=settings.s3_virtual_host,
            timeout=settings.s3_timeout_seconds,
            patience=settings.s3_retry_seconds,
        )

    def base(self, endpoint: str | None = None) -> str:
        """Return the address before the keys, as seen from the hub or through another endpoint."""
        endpoint = endpoint or self.endpoint
        if endpoint is None:
            return f"https://{self.name}.s3.{self.region}.amazonaws.com"
        endpoint = endpoint.rstrip("/")
        if self.virtual_host:
            scheme, _, host = endpoint.partition("://")
            return f"{scheme}://{self.name}.{host}"
        return f"{endpoint}/{self.name}"

    def key(self, name: str) -> str:
        """Return the whole key of an object of this hub."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")


@dataclass(frozen=True)
class StoredObject:
    """An object: its name, its size in bytes, and when it came, in seconds since 1970.

    Times are in whole seconds: `etag` tells what came in the same one.
    """

    name: str
    size: int
    modified: float
    etag: str

    @property
    def version(self) -> str:
        """What tells the object from one that takes its place, even with equal bytes."""
        return f"{self.modified} {self.etag}"

    @classmethod
    def of(cls, found: "ObjectMeta") -> "StoredObject":
        """Read what the driver says."""
        moment = found["last_modified"].timestamp()
        return cls(found["path"], found["size"], moment, found["e_tag"] or "")


class Bucket:
    """The objects of one hub; names stand below its prefix."""

    def __init__(self, settings: Settings) -> None:
        if find_spec("obstore") is None:
            raise UnusableDataError(
                "The contents are in an object store, and its driver is missing: "
                "`pip install 'fin-qlora-hub[s3]'`."
            )
        self.place = BucketPlace.of(settings)
        self._patient = _opened(self.place, settings, tries=10)
        self._quick = _opened(self.place, settings, tries=0)
        self._gone = False
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bucket")

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def require(self) -> None:
        """Raise UnusableDataError where there is no such bucket."""
        import obstore

        def look(store: "S3Store") -> None:
            next(iter(obstore.list(store, prefix="hub", chunk_size=1)), None)

        try:
            self._tried(look)
        except (FileNotFoundError, UnreachableError) as error:
            if isinstance(error, UnreachableError) and "NoSuchBucket" not in error.reason:
                raise
            raise UnusableDataError(
                f"There is no bucket {self.place.name!r} at {self.place.base()}: make it first."
            ) from error

    def require_nobodys(self) -> None:
        """Raise AlreadyExistsError where the objects are a hub's."""
        if self.find(_OWNER) is not None:
            raise AlreadyExistsError(
                f"{self.place} holds the contents of a hub already: choose another prefix in "
                f"FIN_QLORA_HUB_STORAGE_URL. If that hub is gone for good, remove the object "
                f"{self.place.key(_OWNER)!r}."
            )

    def claim(self, owner: str) -> None:
        """Note whose the objects are; raises UnusableDataError where they are another's."""
        try:
            found = b"".join(self.read(_OWNER)).decode("utf-8", "replace")
        except FileNotFoundError:
            self.put(_OWNER, owner.encode())
            return
        if found != owner:
            raise UnusableDataError(
                f"{self.place} holds the contents of another hub: choose another prefix in "
                f"FIN_QLORA_HUB_STORAGE_URL. If that hub is gone for good, remove the object "
                f"{self.place.key(_OWNER)!r}."
            )

    def put(self, name: str, data: bytes | Path) -> None:
        """Store an object, whole or not at all."""
        import obstore

        size = data.stat().st_size if isinstance(data, Path) else len(data)
        part = max(PART_BYTES, -(-size // MAX_PARTS))

        def send(store: "S3Store") -> None:
            obstore.put(
                *(store, name, data),
                use_multipart=size > part,
                chunk_size=part,
                max_concurrency=PARTS_AT_ONCE,
            )

        for _ in range(_UPLOADS):
            with suppress(_LostUploadError):
                return self._tried(send)
        raise UnreachableError("uploads in parts are lost", what="object store")

    def put_all(self, objects: Iterable[tuple[str, Path]]) -> None:
        """Store several objects, many at a time."""
        self._at_once(lambda one: self.put(*one), objects)

    def put_pieces(self, name: str, pieces: Iterable[bytes], *, size: int) -> None:
        """Store an object of `size` bytes that comes in pieces; an error in them stores nothing."""
        import obstore

        part = max(PART_BYTES, -(-size // MAX_PARTS))
        if size <= part:
            self.put(name, b"".join(pieces))
            return
        # What came cannot come again, so that only the store's own client tries again.
        begun = time.time()
        with _fetched_aside(pieces) as fetched:
            try:
                with self._errors_named():
                    obstore.put(
                        *(self._patient, name, fetched),
                        use_multipart=True,
                        chunk_size=part,
                        max_concurrency=PARTS_AT_ONCE,
                    )
            except _LostUploadError as lost:
                # It may have ended well, with an answer that got lost.
                found = self.find(name)
                if found is None or found.size != size or found.modified < begun - _CLOCK_SECONDS:
                    raise UnreachableError(str(lost), what="object store") from lost

    def read(
        self,
        name: str,
        *,
        start: int = 0,
        length: int | None = None,
        piece_bytes: int = PIECE_BYTES,
    ) -> Generator[bytes, None, None]:
        """Fetch the first piece now, so that a missing object fails here, and yield all of them.

        Each is fetched while the one before it is used. Raises FileNotFoundError.
        """
        if length is None:
            found = self.find(name)
            if found is None:
                raise FileNotFoundError(name)
            length = max(found.size - start, 0)
        end = start + length
        first = self._piece(name, start, min(start + piece_bytes, end)) if length else b""
        return self._pieces(name, first, start=start, end=end, piece_bytes=piece_bytes)

    def _pieces(
        self, name: str, piece: bytes, *, start: int, end: int, piece_bytes: int
    ) -> Generator[bytes, None, None]:
        while piece:
            start += len(piece)
            if start >= end:
                yield piece
                return
            coming = self._pool.submit(self._piece, name, start, min(start + piece_bytes, end))
            try:
                yield piece
                piece = coming.result()
            finally:
                coming.cancel()

    def _piece(self, name: str, start: int, end: int) -> bytes:
        """Fetch bytes of an object, fewer where it ends before; none from its end on."""
        import obstore

        def fetch(store: "S3Store") -> bytes:
            try:
                return bytes(obstore.get(store, name, options={"range": (start, end)}).bytes())
            except obstore.exceptions.NotFoundError:
                raise
            except obstore.exceptions.BaseError as error:
                if _BEYOND.search(str(error)):
                    return b""
                raise

        return self._tried(fetch)

    def find(self, name: str) -> StoredObject | None:
        """Look for an object."""
        import obstore

        try:
            found = self._tried(lambda store: obstore.head(store, name))
        except FileNotFoundError:
            return None
        return StoredObject.of(found)

    def find_all(self, names: Collection[str]) -> dict[str, StoredObject]:
        """Look for several objects, many at a time; return those that are there."""
        found = self._at_once(self.find, names)
        return {one.name: one for one in found if one is not None}

    def objects(self, folder: str) -> Iterator[StoredObject]:
        """Yield all objects below a folder, which has no slash at its end."""
        import obstore

        last: str | None = None
        while True:

            def page(store: "S3Store", after: str | None = last) -> list[Any]:
                listing = obstore.list(store, prefix=folder, offset=after, chunk_size=1000)
                return list(next(iter(listing), []))

            found = self._tried(page)
            for one in found:
                yield StoredObject.of(one)
            if not found:
                return
            last = found[-1]["path"]

    def remove(self, name: str) -> None:
        """Remove an object; harmless if it is gone."""
        import obstore

        with suppress(FileNotFoundError):
            self._tried(lambda store: obstore.delete(store, name))

    def remove_all(self, names: Iterable[str]) -> None:
        """Remove several objects, many at a time."""
        self._at_once(self.remove, names)

    def remove_older(self, folder: str, seconds: float) -> int:
        """Remove objects below a folder that came so long ago; return their number."""
        oldest = datetime.now(UTC).timestamp() - seconds
        names = [one.name for one in self.objects(folder) if one.modified < oldest]
        self.remove_all(names)
        return len(names)

    def copy(self, name: str, target: str, *, size: int) -> None:
        """Store an object under another name too."""
        import obstore

        if size <= MAX_COPIED_BYTES:
            self._tried(lambda store: obstore.copy(store, name, target))
        else:
            pieces = self.read(name, length=size, piece_bytes=WHOLE_PIECE_BYTES)
            self.put_pieces(target, pieces, size=size)

    def move(self, name: str, target: str, *, size: int) -> None:
        """Give an object another name."""
        self.copy(name, target, size=size)
        self.remove(name)

    def _at_once(self, work: Callable[[Any], _Answer], arguments: Iterable[Any]) -> list[_Answer]:
        todo = list(arguments)
        if len(todo) == 1:
            return [work(todo[0])]
        futures = [self._pool.submit(work, one) for one in todo]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _tried(self, call: Callable[["S3Store"], _Answer]) -> _Answer:
        """Make a call until it succeeds, for a while; raises FileNotFoundError or the clear one."""
        from obstore.exceptions import BaseError, NotFoundError

        if self._gone:
            with self._errors_named():
                answer = call(self._quick)
            self._answered()
            return answer
        end = time.monotonic() + self.place.patience
        pause = _FIRST_PAUSE
        while True:
            with self._errors_named():
                try:
                    return call(self._patient)
                except NotFoundError:
                    raise
                except BaseError as error:
                    if not _may_pass(error):
                        raise
                    if time.monotonic() + pause > end:
                        self._gone = True
                        _logger.error("the object store is gone: %s", _reason(error))
                        raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _errors_named(self) -> "_ErrorsNamed":
        return _ErrorsNamed(self)

    def _answered(self) -> None:
        if self._gone:
            _logger.warning("the object store is back")
        self._gone = False


class _Fetched:
    """Pieces that another thread has fetched; an error there is kept, and stops whoever iterates.

    The driver must not be called while it waits for the next piece of what it sends.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.error: BaseException | None = None
        self._pieces = pieces
        self._waiting: Queue[bytes | None] = Queue(_PIECES_AHEAD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._fetch, name="fetched-aside", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._waiting.get()) is not None:
            yield piece
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Fetch no more."""
        self._stopped.set()
        while self._thread.is_alive():
            with suppress(Empty):
                self._waiting.get(timeout=0.05)

    def _fetch(self) -> None:
        try:
            for piece in self._pieces:
                if self._stopped.is_set():
                    break
                self._waiting.put(piece)
        except BaseException as error:
            self.error = error
        self._waiting.put(None)


@contextmanager
def _fetched_aside(pieces: Iterable[bytes]) -> Iterator[_Fetched]:
    fetched = _Fetched(pieces)
    try:
        yield fetched
    except BaseException:
        if fetched.error is not None:
            raise fetched.error from None
        raise
    finally:
        fetched.stop()


class _LostUploadError(Exception):
    """An upload in parts is not known any more: it was ended, and the answer got lost."""


class _ErrorsNamed:
    """Turns what the driver raises into errors of the hub, or FileNotFoundError."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        from obstore.exceptions import BaseError, NotFoundError

        missing = isinstance(error, NotFoundError | FileNotFoundError)  # the driver raises either
        if missing and not _ELSEWHERE.search(str(error)):
            self._bucket._answered()
            raise FileNotFoundError("The object is not in the bucket.") from error
        if missing or isinstance(error, BaseError):
            assert isinstance(error, Exception)
            reason = _reason(error)
            if "NoSuchUpload" in reason:
                raise _LostUploadError(reason) from error
            if not _may_pass(error):
                _logger.error("the object store refuses: %s", reason)
            if "QuotaExceeded" in reason or "InsufficientStorage" in reason:
                raise StorageFullError(
                    "The hub's object store is full: nothing was stored. Ask the administrator."
                ) from error
            raise UnreachableError(reason, what="object store") from error


def _may_pass(error: Exception) -> bool:
    """Say whether the same call may succeed a moment later."""
    return not _FINAL.search(str(error))


def _reason(error: Exception) -> str:
    """Return what the driver says, in one line of bearable length."""
    return " ".join(str(error).split())[:500]


def _opened(place: BucketPlace, settings: Settings, *, tries: int) -> "S3Store":
    from obstore.store import S3Store

    secrets = {
        "access_key_id": settings.s3_access_key_id,
        "secret_access_key": settings.s3_secret_access_key,
        "session_token": settings.s3_session_token,
    }
    options: Any = {name: value.get_secret_value() for name, value in secrets.items() if value}
    if place.endpoint is not None:
        options["endpoint"] = place.base() if place.virtual_host else place.endpoint
    return S3Store(
        place.name,
        prefix=place.prefix or None,
        region=place.region,
        virtual_hosted_style_request=place.virtual_host or place.endpoint is None,
        client_options={
            "allow_http": (place.endpoint or "").startswith("http://"),
            "timeout": timedelta(seconds=place.timeout),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, place.timeout)),
        },
        retry_config={
            "max_retries": tries,
            "retry_timeout": timedelta(seconds=place.patience),
            "backoff": {
                "init_backoff": timedelta(seconds=_FIRST_PAUSE),
                "max_backoff": timedelta(seconds=_LONGEST_PAUSE),
                "base": 2,
            },
        },
        **options,
    )
