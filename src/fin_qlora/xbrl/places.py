"""Where filings lie: folders of loose documents and zips, listed without following a link."""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from ..errors import DataError, MissingFileError
from .limits import Limits

_DOCUMENTS = (".xml", ".htm", ".html", ".xhtml", ".xsd", ".xbrl", "metalinks.json")
_ACCESSION = re.compile(r"(?<!\d)(\d{10})-?(\d{2})-?(\d{6})(?!\d)")
_SMALL_ENOUGH_TO_COMPRESS_WELL = 2**16


@dataclass(frozen=True, order=True)
class Place:
    """One folder with documents in it, or one archive; ``path`` is relative and uses slashes."""

    path: str
    kind: Literal["folder", "archive"]


@dataclass(frozen=True, order=True)
class Refusal:
    """What was not read, and why."""

    place: str
    reason: str


def find_places(root: Path) -> tuple[list[Place], list[Refusal]]:
    """List every folder and archive below ``root`` that may hold a filing, sorted by path.

    Links and things that are neither file nor folder are refused, never followed. Names that start
    with a dot are passed over.

    Raises:
        MissingFileError: ``root`` is not a folder.
    """
    if not root.is_dir():
        raise MissingFileError(
            f"There is no folder of filings '{root}'.", fix="Name a folder that holds filings."
        )
    places: list[Place] = []
    refused: list[Refusal] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        loose = False
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                path = f"{folder}/{entry.name}" if folder else entry.name
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    pending.append(path)
                elif not stat.S_ISREG(mode):
                    what = "a link" if stat.S_ISLNK(mode) else "no ordinary file"
                    refused.append(Refusal(path, f"'{entry.name}' is {what}; it is not followed."))
                elif entry.name.lower().endswith(".zip"):
                    places.append(Place(path, "archive"))
                elif entry.name.lower().endswith(_DOCUMENTS):
                    loose = True
        if loose:
            places.append(Place(folder or ".", "folder"))
    return sorted(places), sorted(refused)


def accession_of(path: str) -> str:
    """Return EDGAR's accession number where a name in the path holds one, else nothing."""
    for name in reversed(path.split("/")):
        if found := _ACCESSION.search(name):
            return "-".join(found.groups())
    return ""


class Opened:
    """The documents of one place, read one at a time."""

    def __init__(self, root: Path, place: Place, *, limits: Limits) -> None:
        self._limits = limits
        self._file = root / place.path
        self._archive: zipfile.ZipFile | None = None
        self._members: dict[str, zipfile.ZipInfo] = {}
        if place.kind == "archive":
            try:
                self._archive = zipfile.ZipFile(self._file)
            except (zipfile.BadZipFile, OSError, ValueError) as error:
                raise DataError(f"{place.path} is not a zip that can be read: {error}.") from None
            try:
                self._members = _checked_members(self._archive, place.path, limits)
            except DataError:
                self._archive.close()
                raise

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def names(self) -> list[str]:
        """Return the names of the documents, sorted."""
        if self._archive is not None:
            return sorted(self._members)
        return sorted(
            entry.name
            for entry in os.scandir(self._file)
            if entry.is_file(follow_symlinks=False)
            and not entry.name.startswith(".")
            and entry.name.lower().endswith(_DOCUMENTS)
        )

    def read(self, name: str) -> bytes:
        """Return the bytes of a document. Raises DataError where it is too large or damaged."""
        if self._archive is None:
            with _open_no_link(self._file / name) as stream:
                content = stream.read(self._limits.file_bytes + 1)
        else:
            try:
                with self._archive.open(self._members[name]) as member:
                    content = member.read(self._limits.file_bytes + 1)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
                raise DataError(f"{name} cannot be unpacked: {error}.") from None
            except NotImplementedError:
                raise DataError(f"{name} is packed in a way that cannot be read.") from None
        if len(content) > self._limits.file_bytes:
            raise DataError(f"{name} has more than {self._limits.file_bytes:,} bytes.")
        return content

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) of each document, one in memory at a time."""
        for name in self.names():
            yield name, self.read(name)


def _open_no_link(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


def _checked_members(
    archive: zipfile.ZipFile, place: str, limits: Limits
) -> dict[str, zipfile.ZipInfo]:
    """Return the documents of an archive by base name. Raises DataError on any hostile member."""
    infos = archive.infolist()
    if len(infos) > limits.archive_members:
        raise DataError(
            f"{place} has {len(infos):,} members; at most {limits.archive_members:,} are read."
        )
    total = sum(info.file_size for info in infos)
    if total > limits.archive_bytes:
        raise DataError(
            f"{place} unpacks to {total:,} bytes; at most {limits.archive_bytes:,} pass."
        )
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        shown = info.filename[:120]
        parts = info.filename.replace("\\", "/").split("/")
        if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise DataError(f"{place} has the member '{shown}', which points out of the archive.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{place} has the member '{shown}', which is a link.")
        if info.flag_bits & 0x1:
            raise DataError(f"{place} has the member '{shown}', which is encrypted.")
        packed = max(1, info.compress_size)
        if (
            info.file_size > _SMALL_ENOUGH_TO_COMPRESS_WELL
            and info.file_size > limits.archive_ratio * packed
        ):
            raise DataError(
                f"{place} has the member '{shown}', which unpacks to {info.file_size // packed:,} "
                f"times its size; at most {limits.archive_ratio:,} pass."
            )
        name = parts[-1]
        if info.is_dir() or name.startswith(".") or not name.lower().endswith(_DOCUMENTS):
            continue
        if name in members:
            raise DataError(f"{place} has two members named '{name[:120]}'.")
        members[name] = info
    return members
