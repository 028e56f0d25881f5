"""Files of another hub, fetched into the store: resumed where they broke off, and verified.

A large file grows in one place of the data directory until it is whole, so that whoever waits for
it can read along. A lock on that place lets one process at a time fetch it, and goes when that one
dies: the next goes on from the bytes that are there.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fin_qlora_hub.access.visibility import RepositoryName
from fin_qlora_hub.errors import UpstreamError
from fin_qlora_hub.mirrors.upstream import Upstream, UpstreamFile
from fin_qlora_hub.stores import disk
from fin_qlora_hub.stores.blobs import BlobStore, StagedBlob
from fin_qlora_hub.text import shortened

ATTEMPTS = 5
PAUSE_SECONDS = 1.0
_CHECK_BYTES = 8 * disk.CHUNK_BYTES


class Fetcher:
    """Fetches contents; `stop` ends it at the next bytes."""

    def __init__(self, folder: Path, blobs: BlobStore, upstream: Upstream) -> None:
        self._folder = folder
        self._blobs = blobs
        self._upstream = upstream
        self.stop = threading.Event()

    def place(self, name: RepositoryName, sha256: str) -> Path:
        """Return where a large file of a repository grows: each repository's by itself."""
        key = hashlib.sha256(f"{name.kind}/{name}".lower().encode()).hexdigest()
        return self._folder / f"{key[:16]}-{sha256}"

    def small(self, name: RepositoryName, oid: str, file: UpstreamFile) -> StagedBlob:
        """Fetch a small file in one go."""
        for attempt in range(1, ATTEMPTS + 1):
            writer = self._blobs.writer(limit=file.size, inline=file.sha256 is None)
            try:
                for piece in self._upstream.read(name, oid, file):
                    self._go_on()
                    writer.write(piece)
                staged = writer.finish()
                _require(name, file, staged.content.git_sha1 or staged.content.sha256)
            except BaseException as error:
                writer.discard()
                passing = isinstance(error, UpstreamError) and not error.lasting
                if not passing or attempt == ATTEMPTS:
                    raise
                self.pause(PAUSE_SECONDS * attempt)
            else:
                return staged
        raise AssertionError("the last attempt returns or raises")

    def large(
        self,
        name: RepositoryName,
        oid: str,
        file: UpstreamFile,
        *,
        on_verified: Callable[[], None] = lambda: None,
    ) -> StagedBlob | None:
        """Fetch a large file; None where another process is fetching it."""
        assert file.sha256 is not None
        path = self.place(name, file.sha256)
        with _locked(path) as handle:
            if handle is None:
                return None
            self._grow(name, oid, file, handle)
            on_verified()
            writer = self._blobs.writer(limit=file.size, inline=False)
            try:
                for piece in disk.read_part(path, start=0):
                    writer.write(piece)
                staged = writer.finish()
                _require(name, file, staged.content.sha256)
            except BaseException:
                writer.discard()
                raise
            return staged

    def forget(self, name: RepositoryName, sha256: str) -> None:
        """Remove the place of a file that the store holds."""
        self.place(name, sha256).unlink(missing_ok=True)

    def _grow(self, name: RepositoryName, oid: str, file: UpstreamFile, handle: IO[bytes]) -> None:
        digest = hashlib.sha256()
        size = _read_again(handle, digest, limit=file.size)
        failures = 0
        unchecked = 0
        while size < file.size:
            before = size
            try:
                for piece in self._upstream.read(name, oid, file, start=size):
                    self._go_on()
                    unchecked += len(piece)
                    if unchecked > _CHECK_BYTES:
                        disk.require_space(self._folder, file.size - size)
                        unchecked = 0
                    _append(handle, piece)
                    digest.update(piece)
                    size += len(piece)
            except UpstreamError as error:
                failures = 1 if size > before else failures + 1
                if error.lasting or failures == ATTEMPTS:
                    raise
                self.pause(PAUSE_SECONDS * failures)
        try:
            _require(name, file, digest.hexdigest())
        except UpstreamError:
            os.truncate(handle.fileno(), 0)
            raise
        os.fsync(handle.fileno())

    def pause(self, seconds: float) -> None:
        """Wait a while, unless everything is to end."""
        self.stop.wait(seconds)
        self._go_on()

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise UpstreamError("The hub is being stopped: fetching goes on next time.")


def _require(name: RepositoryName, file: UpstreamFile, found: str) -> None:
    wanted = file.sha256 or file.oid
    if found != wanted:
        raise UpstreamError(
            f"{shortened(file.path)} of {name} came with the hash {found}, not {wanted}: it was "
            "thrown away.",
            lasting=True,
        )


def _append(handle: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    with disk.full_disk_refused():
        while rest:  # an unbuffered file may take a part
            rest = rest[handle.write(rest) :]


def _read_again(handle: IO[bytes], digest: "hashlib._Hash", *, limit: int) -> int:
    """Hash what is there already; what cannot be a beginning of the file is dropped."""
    size = os.fstat(handle.fileno()).st_size
    if size > limit:
        os.truncate(handle.fileno(), 0)
        size = 0
    handle.seek(0)
    left = size
    while left and (chunk := handle.read(min(left, disk.CHUNK_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
    return size


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes] | None]:
    """Open a growing file alone, to read and append; None while another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+", 0) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                yield handle
                return
