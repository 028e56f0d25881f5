"""The parts of one running hub, put together."""

import logging
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fin_qlora_hub.access.keys import KeyWatch
from fin_qlora_hub.access.signing import Signer
from fin_qlora_hub.access.using import TokenUses
from fin_qlora_hub.audit.recording import Recorder
from fin_qlora_hub.contents.bucket_direct import BucketDirect, presigner
from fin_qlora_hub.contents.direct import DirectTransfer
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import UnreachableError, UnusableDataError
from fin_qlora_hub.metadata.database import Database, open_database, place_of
from fin_qlora_hub.metadata.schema import migrate, require_newest_form
from fin_qlora_hub.mirrors.reading_through import ReadThrough
from fin_qlora_hub.mirrors.registry import reserve
from fin_qlora_hub.repositories.counting import DownloadCounter
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.sharing import SharedPool
from fin_qlora_hub.stores.blobs import BlobStore
from fin_qlora_hub.stores.bucket import Bucket
from fin_qlora_hub.stores.bucket_blobs import BucketBlobStore
from fin_qlora_hub.stores.bucket_parts import BucketPartStore
from fin_qlora_hub.stores.local_blobs import LocalBlobStore
from fin_qlora_hub.stores.local_parts import LocalPartStore
from fin_qlora_hub.stores.parts import PartStore
from fin_qlora_hub.xet.access import identity_of, new_identity
from fin_qlora_hub.xet.bucket_files import BucketXorbs
from fin_qlora_hub.xet.local_files import LocalXorbs
from fin_qlora_hub.xet.store import XorbStore

WRITERS = 8
RECEIVERS = 4
VERIFIERS = 3
_logger = logging.getLogger("fin_qlora_hub")


@dataclass(frozen=True)
class Hub:
    """What every request needs: how to behave, where the metadata is, where the contents are.

    Whatever waits for the one writing transaction waits in a thread of `writers`, so that there
    are always threads for those who read. `receivers` write down what arrives, `verifiers` read
    whole files again. `mirror` is there where repositories of another hub come when they are read.
    """

    settings: Settings
    database: Database
    storage: Storage
    parts: PartStore
    direct: DirectTransfer | None
    downloads: DownloadCounter
    recorder: Recorder
    token_uses: TokenUses
    keys: KeyWatch
    writers: ThreadPoolExecutor
    receivers: ThreadPoolExecutor
    verifiers: SharedPool
    mirror: ReadThrough | None

    @property
    def signer(self) -> Signer:
        """What signs addresses and tokens of the chunk store."""
        return self.keys.signer

    @property
    def blobs(self) -> BlobStore:
        """Where whole contents are."""
        return self.storage.blobs

    @property
    def xorbs(self) -> XorbStore:
        """Where chunks are."""
        return self.storage.xorbs


def initialise(settings: Settings) -> str:
    """Make or bring up to date a data directory; return the form of its tables."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep_private(settings)
    with open_stores(settings) as stores:
        if stores.bucket is not None:
            stores.bucket.require()
    return migrate(place_of(settings))


def keep_private(settings: Settings) -> None:
    """Take a data directory away from everyone but its owner; refuse where that is not possible."""
    folder = settings.data_dir
    if not stat.S_IMODE(folder.stat().st_mode) & 0o077:
        return
    made = settings.database_path.exists() or settings.blobs_path.is_dir()
    ours = made or not any(folder.iterdir())
    fix = f"choose an empty directory, or run `chmod 700 {folder}`."
    if not ours:
        raise UnusableDataError(
            f"{folder} holds other files and is open to other users of this machine: {fix}"
        )
    _close_to_others(folder, fix=fix)


def _close_to_others(folder: Path, *, fix: str) -> None:
    try:
        folder.chmod(0o700)
    except PermissionError as error:
        raise UnusableDataError(
            f"{folder} is open to other users of this machine: {fix}"
        ) from error


@contextmanager
def open_hub(settings: Settings) -> Iterator[Hub]:
    """Open an initialised data directory for a while; raises NotInitialisedError."""
    place = place_of(settings)
    database = open_database(place, connections=settings.database_connections)
    database.default_quota = settings.quota_bytes
    require_newest_form(place)
    downloads, token_uses = DownloadCounter(database), TokenUses(database)
    recorder = Recorder(database, reads=settings.audit_reads)
    try:
        with (
            closing(KeyWatch(database)) as keys,
            open_stores(settings) as stores,
            ThreadPoolExecutor(WRITERS, thread_name_prefix="writer") as writers,
            ThreadPoolExecutor(RECEIVERS, thread_name_prefix="receiver") as receivers,
            SharedPool(VERIFIERS, name="verifier") as verifiers,
            _mirror(settings, database, stores.storage) as mirror,
        ):
            claim(database, stores)
            yield Hub(
                *(settings, database, stores.storage, stores.parts, stores.direct),
                *(downloads, recorder, token_uses, keys),
                *(writers, receivers, verifiers),
                mirror,
            )
    finally:
        downloads.close()
        recorder.close()
        token_uses.close()
        database.close()


@dataclass(frozen=True)
class Stores:
    """Where contents are, where parts of them wait, and the way past the hub if there is one.

    `bucket` is where all that lies, None where it is on the local disk.
    """

    storage: Storage
    parts: PartStore
    direct: DirectTransfer | None = None
    bucket: Bucket | None = None


def claim(database: Database, stores: Stores) -> None:
    """Make sure that no other hub has the bucket: each would remove what only the other names.

    Raises UnusableDataError. While the bucket does not answer nothing is checked.
    """
    if stores.bucket is None:
        return
    with database.reading() as session:
        owner = identity_of(session)
    if owner is None:
        with database.writing() as session:
            owner = identity_of(session) or new_identity(session)
    try:
        stores.bucket.claim(owner)
    except UnreachableError as error:
        _logger.warning("whose the bucket is cannot be seen: %s", error.reason)


@contextmanager
def _mirror(
    settings: Settings, database: Database, storage: Storage
) -> Iterator[ReadThrough | None]:
    """Take the namespaces of what may be mirrored, and mirror what is read of them."""
    if settings.mirror_upstream is None:
        yield None
        return
    with database.writing() as session:
        local = reserve(session, settings)
        for name in local:
            _logger.warning("%s is a namespace of this hub: nothing is mirrored there", name)
    if not settings.mirror_allow:
        yield None
        return
    mirror = ReadThrough(settings, database, storage, without=local)
    try:
        yield mirror
    finally:
        mirror.close()


@contextmanager
def open_stores(settings: Settings) -> Iterator[Stores]:
    """Open all stores, which are made where they are missing, for a while."""
    if settings.storage_url is None:
        blobs, xorbs = LocalBlobStore(settings.blobs_path), LocalXorbs(settings.xorbs_path)
        yield Stores(Storage(blobs, XorbStore(xorbs)), LocalPartStore(settings.parts_path))
        return
    bucket, scratch = Bucket(settings), settings.scratch_path
    signer = presigner(bucket, settings)
    try:
        yield Stores(
            Storage(
                BucketBlobStore(bucket, scratch / "blobs"),
                XorbStore(BucketXorbs(bucket, scratch / "xorbs")),
            ),
            BucketPartStore(bucket, scratch / "parts"),
            None if signer is None else BucketDirect(bucket, signer),
            bucket,
        )
    finally:
        bucket.close()
