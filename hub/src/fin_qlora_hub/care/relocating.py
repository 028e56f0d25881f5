"""Contents copied from the local disk into a bucket, or back, when a hub is to keep them there."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy import func, select

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import BadRequestError, HubError, OperationalError
from fin_qlora_hub.hub import Stores, claim, open_stores
from fin_qlora_hub.metadata.database import open_database, place_of
from fin_qlora_hub.metadata.locking import collection_lock, lock_data_dir
from fin_qlora_hub.metadata.schema import require_newest_form
from fin_qlora_hub.metadata.tables import StoredFile, XetFile, Xorb
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.xet.ownership import stored
from fin_qlora_hub.xet.store import StoredXorb

_AT_ONCE = 100


@dataclass
class Relocated:
    """What was copied: numbers and bytes; `findings` says what could not be."""

    contents: int = 0
    xorbs: int = 0
    size: int = 0
    findings: list[str] = field(default_factory=list)


def relocate(settings: Settings, *, to_bucket: bool) -> Relocated:
    """Copy all contents between the folders of the data directory and the bucket of the settings.

    Every byte is verified, what is there already is not copied again, and the source stays as it
    is. No server may run meanwhile: what it took would stay behind.
    """
    if settings.storage_url is None:
        raise BadRequestError("There is no bucket: set FIN_QLORA_HUB_STORAGE_URL first.")
    here = settings.model_copy(update={"storage_url": None})
    require_newest_form(place_of(settings))
    with (
        lock_data_dir(settings, exclusive=True),
        closing(open_database(place_of(settings))) as database,
        collection_lock(settings, database, exclusive=True),
        open_stores(here) as disk,
        open_stores(settings) as bucket,
    ):
        claim(database, bucket)
        source, copy = (disk, bucket) if to_bucket else (bucket, disk)
        with database.reading() as session:
            rows = select(StoredFile.sha256, func.max(StoredFile.size)).group_by(StoredFile.sha256)
            contents = {sha256: size for sha256, size in session.execute(rows)}  # noqa: C416
            chunked = set(session.scalars(select(XetFile.sha256)))
            xorbs = [stored(row) for row in session.scalars(select(Xorb))]
        copier = _Copier(source, copy)
        for some in _in_parts(sorted(contents)):
            there = copy.storage.blobs.sizes(some)
            for sha256 in some:
                if there.get(sha256) != contents[sha256]:
                    copier.content(sha256, contents[sha256], needed=sha256 not in chunked)
        for xorb in xorbs:
            if not copy.storage.xorbs.holds(xorb):
                copier.xorb(xorb)
        done = copier.done
        with database.writing() as session:
            place = "bucket" if to_bucket else "disk"
            record(session, Act.CONTENTS_RELOCATED, to=place, size=done.size)
    return done


class _Copier:
    """Copies contents from one store to another, each only if its bytes are right."""

    def __init__(self, source: Stores, target: Stores) -> None:
        self.done = Relocated()
        self._source: Storage = source.storage
        self._target: Storage = target.storage

    def content(self, sha256: str, size: int, *, needed: bool) -> None:
        try:
            pieces = self._source.blobs.read(sha256)
        except FileNotFoundError:
            if needed:
                self.done.findings.append(f"The content {sha256} is missing.")
            return
        writer = self._target.blobs.writer(limit=size, inline=False)
        try:
            for piece in pieces:
                writer.write(piece)
            staged = writer.finish()
            if staged.content.sha256 == sha256:
                self._target.blobs.publish([staged])
                self.done.contents += 1
                self.done.size += size
            else:
                self.done.findings.append(f"The content {sha256} has changed in the store.")
        except OperationalError:
            raise
        except HubError:
            self.done.findings.append(f"The content {sha256} has another size in the store.")
        finally:
            writer.discard()

    def xorb(self, xorb: StoredXorb) -> None:
        writer = self._target.xorbs.writer()
        try:
            with closing(self._source.xorbs.read(xorb, start=0, length=xorb.size)) as pieces:
                for piece in pieces:
                    writer.write(piece)
            # Under the time that the metadata have: addresses that were given out stay good.
            self._target.xorbs.publish(writer.finish(expected=xorb.hash, made=xorb.made))
            self.done.xorbs += 1
            self.done.size += xorb.size
        except OperationalError:
            raise
        except (HubError, FileNotFoundError):
            self.done.findings.append(f"The xorb {xorb.hash} is missing or damaged.")
        finally:
            writer.discard()


def _in_parts(names: Iterable[str]) -> Iterator[list[str]]:
    whole = list(names)
    for start in range(0, len(whole), _AT_ONCE):
        yield whole[start : start + _AT_ONCE]
