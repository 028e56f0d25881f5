"""Whether what the metadata names is there (`check`), and whether its bytes are right (`scrub`)."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from fin_qlora_hub import disk
from fin_qlora_hub.errors import HubError
from fin_qlora_hub.gitobjects import tree_id
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.tables import (
    Commit,
    Reference,
    Repository,
    StoredFile,
    TreeEntry,
    XetFile,
    XetSegment,
    Xorb,
)
from fin_qlora_hub.xet.xorbs import ENTRY_BYTES, XorbReader

_EMPTY_TREE = tree_id(())


def check(hub: Hub) -> Iterator[str]:
    """Yield a sentence for each thing that is named and missing, or that does not fit together."""
    with hub.database.reading() as session:
        yield from _references(session)
        yield from _commits(session)
        yield from _trees(session)
        yield from _contents(hub, session)
        yield from _chunked(session)
        yield from _xorbs(hub, session)


def scrub(hub: Hub) -> Iterator[str]:
    """Read every byte again; yield a sentence for each content or xorb that has changed."""
    for path in _files(hub.settings.blobs_path):
        digest = hashlib.sha256()
        for chunk in disk.read_part(path, start=0):
            digest.update(chunk)
        name = path.parent.name + path.name
        if digest.hexdigest() != name:
            yield f"The content {name} has changed on the disk: put it back from a copy."
    with hub.database.reading() as session:
        known = {row.hash: row for row in session.scalars(select(Xorb))}
    for name, row in known.items():
        try:
            hub.xorbs.forget(name)
            index = hub.xorbs.read_index(name, chunks=row.chunks, size=row.size)
            reader = XorbReader()
            with closing(hub.xorbs.read(name, start=0, length=row.size)) as chunks:
                for chunk in chunks:
                    reader.feed(chunk)
            found = reader.finish()
            intact = found.hash == name and found == index and reader.size == row.size
        except (HubError, OSError):
            intact = False
        if not intact:
            yield f"The xorb {name} has changed on the disk: put it back from a copy."


def _references(session: Session) -> Iterator[str]:
    query = (
        select(Reference)
        .outerjoin(
            Commit,
            (Commit.repository_id == Reference.repository_id)
            & (Commit.oid == Reference.commit_oid),
        )
        .where(Commit.oid.is_(None))
    )
    for reference in session.scalars(query):
        yield (
            f"{reference.name} of repository {reference.repository_id} names the commit "
            f"{reference.commit_oid}, which is missing."
        )


def _commits(session: Session) -> Iterator[str]:
    parent = aliased(Commit)
    query = (
        select(Commit)
        .outerjoin(
            parent,
            (parent.repository_id == Commit.repository_id) & (parent.oid == Commit.parent_oid),
        )
        .where(Commit.parent_oid.is_not(None), parent.oid.is_(None))
    )
    for commit in session.scalars(query):
        yield f"The commit {commit.oid} follows {commit.parent_oid}, which is missing."
    main = select(Reference.repository_id).where(Reference.name == "refs/heads/main")
    for number in session.scalars(select(Repository.id).where(Repository.id.not_in(main))):
        yield f"Repository {number} has no branch main."


def _trees(session: Session) -> Iterator[str]:
    folders = select(TreeEntry.repository_id, TreeEntry.oid).where(TreeEntry.sha256.is_(None))
    roots = select(Commit.repository_id, Commit.tree_oid)
    wanted = folders.union(roots).subquery()
    repository_id, oid = wanted.c
    held = (
        select(TreeEntry.name)
        .where(TreeEntry.repository_id == repository_id, TreeEntry.tree_oid == oid)
        .exists()
    )
    for number, missing in session.execute(select(repository_id, oid).where(~held)):
        if missing != _EMPTY_TREE:
            yield f"The folder {missing} of repository {number} is missing."


def _contents(hub: Hub, session: Session) -> Iterator[str]:
    stored = (
        select(StoredFile.sha256)
        .where(
            StoredFile.repository_id == TreeEntry.repository_id,
            StoredFile.sha256 == TreeEntry.sha256,
        )
        .exists()
    )
    query = select(TreeEntry).where(TreeEntry.sha256.is_not(None), ~stored)
    for entry in session.scalars(query.execution_options(yield_per=1000)):
        yield (
            f"{entry.name!r} of repository {entry.repository_id} has the content {entry.sha256}, "
            "which the repository does not hold."
        )
    rows = select(StoredFile, XetFile.id).outerjoin(
        XetFile,
        (XetFile.repository_id == StoredFile.repository_id) & (XetFile.sha256 == StoredFile.sha256),
    )
    for file, chunked in session.execute(rows.execution_options(yield_per=1000)):
        path = _path(hub.settings.blobs_path, file.sha256)
        if path.is_file():
            if path.stat().st_size != file.size:
                yield f"The content {file.sha256} has not {file.size:,} bytes on the disk."
        elif chunked is None:
            yield f"The content {file.sha256} of repository {file.repository_id} is missing."


def _chunked(session: Session) -> Iterator[str]:
    total = func.coalesce(func.sum(XetSegment.size), 0)
    query = (
        select(XetFile.file_hash, XetFile.size, total)
        .outerjoin(XetSegment, XetSegment.file_id == XetFile.id)
        .group_by(XetFile.id)
        .having(total != XetFile.size)
    )
    for name, size, found in session.execute(query):
        yield f"The chunks of the file {name} have {found:,} bytes, not {size:,}."


def _xorbs(hub: Hub, session: Session) -> Iterator[str]:
    for row in session.scalars(select(Xorb).execution_options(yield_per=1000)):
        path = hub.xorbs.path_of(row.hash)
        if not path.is_file():
            yield f"The xorb {row.hash} is missing."
        elif path.stat().st_size != row.size + row.chunks * ENTRY_BYTES:
            yield f"The xorb {row.hash} has another size on the disk than it should."


def _files(root: Path) -> Iterator[Path]:
    for folder in sorted(root.iterdir()):
        if len(folder.name) == 2:
            yield from sorted(path for path in folder.iterdir() if path.is_file())


def _path(root: Path, name: str) -> Path:
    return root / name[:2] / name[2:]
