"""Backups, taken while the hub runs.

A backup is a folder that takes one snapshot of the metadata after another. Contents have the names
of their hashes, so they are copied once, whatever the number of snapshots:

    snapshots/20261120T151233.000000Z/backup.json     what the snapshot holds
    snapshots/20261120T151233.000000Z/TABLE.jsonl.gz  the rows of a table
    blobs/ab/cd...  xorbs/ab/cd...                    contents, as the hub keeps them
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from uuid import uuid4

from sqlalchemy import select

from fin_qlora_hub import __version__
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import (
    BadRequestError,
    HubError,
    NotFoundError,
    UnreachableError,
    UnusableDataError,
)
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.database import place_of
from fin_qlora_hub.metadata.locking import collection_lock, held
from fin_qlora_hub.metadata.schema import current_form
from fin_qlora_hub.metadata.snapshots import TableFile, check_file, write_rows
from fin_qlora_hub.metadata.tables import StoredFile, XetFile, Xorb
from fin_qlora_hub.stores import disk
from fin_qlora_hub.xet.ownership import stored
from fin_qlora_hub.xet.store import StoredXorb
from fin_qlora_hub.xet.xorbs import XorbReader, fed

FORMAT = 1
BLOBS, XORBS = "blobs", "xorbs"
_SNAPSHOTS, _MANIFEST = "snapshots", "backup.json"


@dataclass(frozen=True)
class Backup:
    """A snapshot that was taken; `copied` is in bytes, `findings` says what could not be kept."""

    name: str
    rows: int
    copied: int
    findings: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of the metadata in a backup, and the form of its tables."""

    folder: Path
    form: str
    files: dict[str, TableFile]


def back_up(hub: Hub, target: Path) -> Backup:
    """Add a snapshot to a backup, which is made where there is none; the hub may run meanwhile.

    The metadata are those of one moment. Contents were durable before the metadata named them, and
    nothing is collected until all are copied. Every byte that is copied is verified.
    """
    if target.resolve().is_relative_to(hub.settings.data_dir.resolve()):
        raise BadRequestError("A backup belongs on another disk than the data directory.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    with held(target / "lock", exclusive=True):
        for left in target.glob("incoming-*"):  # by a backup that was cut short
            shutil.rmtree(left)
        incoming = target / f"incoming-{uuid4().hex}"
        incoming.mkdir(mode=0o700)
        try:
            return _back_up(hub, target, incoming)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)


def _back_up(hub: Hub, target: Path, incoming: Path) -> Backup:
    with collection_lock(hub.settings, hub.database, exclusive=False):
        moment = datetime.now(UTC)
        with hub.database.reading() as session:
            files = write_rows(session.connection(), incoming)
            chunked = set(session.scalars(select(XetFile.sha256)))
            found = session.execute(select(StoredFile.sha256, StoredFile.size))
            contents = {sha256: size for sha256, size in found}  # noqa: C416
            xorbs = [stored(row) for row in session.scalars(select(Xorb))]
        copier = _Copier(hub, target, incoming)
        for sha256, size in sorted(contents.items()):
            copier.content(sha256, size=size, needed=sha256 not in chunked)
        for xorb in xorbs:
            copier.xorb(xorb)
    name = moment.strftime("%Y%m%dT%H%M%S.%fZ")
    _write_manifest(incoming, files, form=current_form(place_of(hub.settings)) or "")
    (target / _SNAPSHOTS).mkdir(exist_ok=True, mode=0o700)
    disk.put_in_place(incoming, target / _SNAPSHOTS / name)
    rows = sum(file.rows for file in files.values())
    with hub.database.writing() as session:
        record(session, Act.BACKUP_TAKEN, snapshot=name, rows=rows, findings=len(copier.findings))
    return Backup(name, rows, copier.copied, tuple(copier.findings))


def find_snapshot(source: Path, name: str | None = None) -> Snapshot:
    """Return a snapshot of a backup, the newest by default, if its files are as they were written.

    Raises NotFoundError or UnusableDataError.
    """
    folder = source / _SNAPSHOTS
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not names or name not in (None, *names):
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise NotFoundError(f"{source} has no such snapshot: {known}.")
    folder = folder / (name or names[-1])
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            raise ValueError(f"its format is {manifest['format']}")
        files = {name: TableFile(**file) for name, file in manifest["tables"].items()}
        snapshot = Snapshot(folder, manifest["form"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableDataError(f"{folder / _MANIFEST} cannot be read ({error}).") from error
    for table, file in files.items():
        check_file(folder, table, file)
    return snapshot


class _Copier:
    """Copies contents into a backup, each once, and only if its bytes are right."""

    def __init__(self, hub: Hub, target: Path, incoming: Path) -> None:
        self.copied = 0
        self.findings: list[str] = []
        self._hub = hub
        self._target = target
        self._incoming = incoming / "content"
        for store in (BLOBS, XORBS):
            (target / store).mkdir(exist_ok=True, mode=0o700)

    def content(self, sha256: str, *, size: int, needed: bool) -> None:
        place = disk.place_in(self._target / BLOBS, sha256)
        if disk.size_of(place) == size:
            return
        try:
            found = self._hub.blobs.read(sha256)
        except FileNotFoundError:
            if needed:
                self.findings.append(f"The content {sha256} is missing.")
            return
        digest = hashlib.sha256()

        def pieces() -> Iterator[bytes]:
            for piece in found:
                digest.update(piece)
                yield piece

        self._write(pieces())
        if digest.hexdigest() == sha256:
            self._keep(place)
        else:
            self._incoming.unlink()
            self.findings.append(f"The content {sha256} has changed in the store.")

    def xorb(self, xorb: StoredXorb) -> None:
        place = disk.place_in(self._target / XORBS, xorb.hash)
        if disk.size_of(place) == xorb.file_size:
            return
        try:
            index = self._hub.xorbs.read_index(xorb)
            reader = XorbReader()
            with closing(self._hub.xorbs.read(xorb, start=0, length=xorb.size)) as pieces:
                self._write(chain(fed(reader, pieces), [index.encode()]))
            intact = reader.finish() == index and index.hash == xorb.hash
        except UnreachableError:
            raise
        except (HubError, OSError):
            intact = False
        if intact:
            self._keep(place)
        else:
            self._incoming.unlink(missing_ok=True)
            self.findings.append(f"The xorb {xorb.hash} is missing or damaged.")

    def _write(self, pieces: Iterable[bytes]) -> None:
        with self._incoming.open("wb") as handle:
            for piece in pieces:
                handle.write(piece)
            handle.flush()
            os.fsync(handle.fileno())

    def _keep(self, place: Path) -> None:
        self.copied += self._incoming.stat().st_size
        disk.put_in_place(self._incoming, place)


def _write_manifest(folder: Path, files: dict[str, TableFile], *, form: str) -> None:
    manifest = {
        "format": FORMAT,
        "hub": __version__,
        "form": form,
        "tables": {name: asdict(file) for name, file in files.items()},
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        disk.sync_file(path)
    disk.sync_folder(folder)
