"""Hubs made from backups, in an empty place."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, text

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.care.backup import BLOBS, XORBS, find_snapshot
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import AlreadyExistsError, HubError, OperationalError
from fin_qlora_hub.hub import keep_private, open_stores
from fin_qlora_hub.metadata.database import Place, described, open_database, place_of
from fin_qlora_hub.metadata.locking import lock_data_dir
from fin_qlora_hub.metadata.schema import current_form, migrate
from fin_qlora_hub.metadata.snapshots import load_rows, read_rows
from fin_qlora_hub.settings import Settings
from fin_qlora_hub.stores import disk
from fin_qlora_hub.webhooks.delivering import drop_waiting
from fin_qlora_hub.xet.access import new_keys
from fin_qlora_hub.xet.ownership import made_of
from fin_qlora_hub.xet.xorbs import ENTRY_BYTES


def restore(settings: Settings, source: Path, *, snapshot: str | None = None) -> list[str]:
    """Make a hub of a snapshot, the newest by default; return what could not be restored.

    Every byte is verified. The metadata come last and at once: a restoration that was cut short
    leaves no hub and can be begun again. Addresses that were signed before the backup count no
    longer, and clients of Xet forget what they sent: it may have been after it.
    """
    chosen = find_snapshot(source, snapshot)
    place = place_of(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    keep_private(settings)
    with lock_data_dir(settings, exclusive=True), open_stores(settings) as stores:
        _require_empty(place)
        if stores.bucket is not None:
            stores.bucket.require_nobodys()
        restorer = _Restorer(stores.storage, source)
        chunked = {row["sha256"] for row in read_rows(chosen.folder, "xet_files")}
        contents = {row["sha256"]: row["size"] for row in read_rows(chosen.folder, "files")}
        for sha256, size in contents.items():
            restorer.content(sha256, size=size, needed=sha256 not in chunked)
        for row in read_rows(chosen.folder, "xorbs"):
            made = made_of(datetime.fromisoformat(row["created_at"]).replace(tzinfo=UTC))
            restorer.xorb(row["hash"], chunks=row["chunks"], made=made)

        def fill(connection: Connection) -> None:
            load_rows(connection, chosen.folder, chosen.files)
            # A later snapshot may have brought a xorb that was packed anew.
            query = text("UPDATE xorbs SET size = :size WHERE hash = :xorb AND size != :size")
            for xorb, size in restorer.sizes.items():
                connection.execute(query, {"xorb": xorb, "size": size})
            new_keys(connection)

        migrate(place, target=chosen.form, then=fill)
        migrate(place)
        with closing(open_database(place)) as database, database.writing() as session:
            record(session, Act.HUB_RESTORED, snapshot=chosen.folder.name)
            drop_waiting(session)
    return restorer.findings


class _Restorer:
    """Brings contents from a backup into the stores of a hub."""

    def __init__(self, storage: Storage, source: Path) -> None:
        self.findings: list[str] = []
        self.sizes: dict[str, int] = {}
        self._storage = storage
        self._source = source

    def content(self, sha256: str, *, size: int, needed: bool) -> None:
        path = disk.place_in(self._source / BLOBS, sha256)
        if not path.is_file():
            if needed:
                self.findings.append(f"The content {sha256} is not in the backup.")
            return
        writer = self._storage.blobs.writer(limit=max(size, path.stat().st_size), inline=False)
        try:
            for piece in disk.read_part(path, start=0):
                writer.write(piece)
            staged = writer.finish()
            if staged.content.sha256 == sha256:
                self._storage.blobs.publish([staged])
            else:
                staged.discard()
                self.findings.append(f"The content {sha256} has changed in the backup.")
        finally:
            writer.discard()

    def xorb(self, xorb: str, *, chunks: int, made: int) -> None:
        path = disk.place_in(self._source / XORBS, xorb)
        if not path.is_file():
            self.findings.append(f"The xorb {xorb} is not in the backup.")
            return
        writer = self._storage.xorbs.writer()
        try:
            size = path.stat().st_size - chunks * ENTRY_BYTES
            with closing(disk.read_part(path, start=0, length=size)) as pieces:
                for piece in pieces:
                    writer.write(piece)
            staged = writer.finish(expected=xorb, made=made)
            self.sizes[xorb] = self._storage.xorbs.publish(staged).size
        except OperationalError:
            raise
        except HubError:
            self.findings.append(f"The xorb {xorb} has changed in the backup.")
        finally:
            writer.discard()


def _require_empty(place: Place) -> None:
    if isinstance(place, Path) and not place.exists():
        return
    if current_form(place) is not None:
        raise AlreadyExistsError(
            f"{described(place)} holds a hub already: restore into an empty place, then put it "
            "where the old one was."
        )
