"""Whether what the metadata names is there (`check`), and whether its bytes are right (`scrub`)."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.gitobjects import tree_id
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.locking import collection_lock
from fin_qlora_hub.metadata.tables import (
    Commit,
    Mirror,
    MirrorContent,
    Reference,
    Repository,
    StoredFile,
    TreeEntry,
    XetFile,
    XetSegment,
    Xorb,
)
from fin_qlora_hub.stores.publishing import removing
from fin_qlora_hub.xet.access import new_generation
from fin_qlora_hub.xet.ownership import stored

_EMPTY_TREE = tree_id(())


def check(hub: Hub) -> Iterator[str]:
    """Yield a sentence for each thing that is named and missing, or that does not fit together."""
    with hub.database.reading() as session:
        yield from _references(session)
        yield from _sums(session)
        yield from _commits(session)
        yield from _trees(session)
        yield from _contents(hub, session)
        yield from _chunked(session)
        yield from _xorbs(hub, session)


def scrub(hub: Hub, *, set_aside: bool = False) -> Iterator[str]:
    """Read every byte again; yield a sentence for each content or xorb that has changed.

    With `set_aside` it is moved out of the way: nobody gets it any more, and clients that have it
    send it again. Clients of Xet then forget what they believe to be here.
    """
    advice = "it was set aside, send it again" if set_aside else "put it back from a copy"
    for name, _ in hub.blobs.contents():
        version = hub.blobs.version(name)
        if version is None or _is_content(hub, name):  # gone meanwhile, or right
            continue
        if set_aside:
            _set_aside(hub, name, version)
        yield f"The content {name} has changed in the store: {advice}."
    with hub.database.reading() as session:
        known = [stored(row) for row in session.scalars(select(Xorb))]
    for xorb in known:
        if hub.xorbs.is_sound(xorb):
            continue
        if set_aside and hub.xorbs.holds(xorb):
            with hub.database.writing() as session:
                if not hub.xorbs.is_sound(xorb):  # it has not been sent again meanwhile
                    hub.xorbs.files.set_aside(xorb)
                    new_generation(session)
                    record(session, Act.CONTENTS_SET_ASIDE, xorb=xorb.hash)
        yield f"The xorb {xorb.hash} has changed in the store: {advice}."


def _is_content(hub: Hub, name: str) -> bool:
    digest = hashlib.sha256()
    with suppress(FileNotFoundError):
        for chunk in hub.blobs.read(name):
            digest.update(chunk)
        return digest.hexdigest() == name
    return True


def _set_aside(hub: Hub, name: str, version: str) -> None:
    """Take a damaged content away; whoever is just sending it notices, as with a collection."""
    hub.blobs.copy_aside(name)
    with (
        collection_lock(hub.settings, hub.database, exclusive=True),
        removing(hub.database),
        hub.database.writing() as session,
    ):
        hub.blobs.set_aside(name, version=version)
        record(session, Act.CONTENTS_SET_ASIDE, content=name)


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


def _sums(session: Session) -> Iterator[str]:
    held = (
        select(func.coalesce(func.sum(StoredFile.size), 0))
        .where(StoredFile.repository_id == Repository.id)
        .correlate(Repository)
        .scalar_subquery()
    )
    query = select(Repository.id, Repository.stored_bytes, held)
    for number, counted, size in session.execute(query.where(Repository.stored_bytes != held)):
        yield f"Repository {number} holds {size:,} bytes, not the {counted:,} that were counted."


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
    to_come = (
        select(MirrorContent.sha256)
        .join(Mirror, Mirror.id == MirrorContent.mirror_id)
        .where(
            Mirror.repository_id == TreeEntry.repository_id,
            MirrorContent.sha256 == TreeEntry.sha256,
            MirrorContent.fetched_at.is_(None),
        )
        .exists()
    )
    query = select(TreeEntry).where(TreeEntry.sha256.is_not(None), ~stored, ~to_come)
    with session.scalars(query.execution_options(yield_per=1000)) as entries:
        for entry in entries:
            yield (
                f"{entry.name!r} of repository {entry.repository_id} has the content "
                f"{entry.sha256}, which the repository does not hold."
            )
    rows = select(StoredFile, XetFile.id).outerjoin(
        XetFile,
        (XetFile.repository_id == StoredFile.repository_id) & (XetFile.sha256 == StoredFile.sha256),
    )
    with session.execute(rows.execution_options(yield_per=1000)) as held:
        for some in held.partitions(1000):
            sizes = hub.blobs.sizes({file.sha256 for file, _ in some})
            for file, chunked in some:
                name, size = file.sha256, sizes.get(file.sha256)
                if size is None and chunked is None:
                    yield f"The content {name} of repository {file.repository_id} is missing."
                elif size not in (None, file.size):
                    yield f"The content {name} has not {file.size:,} bytes in the store."


def _chunked(session: Session) -> Iterator[str]:
    total = func.coalesce(func.sum(XetSegment.size), 0)
    query = (
        select(XetFile.file_hash, XetFile.size, total)
        .outerjoin(XetSegment, XetSegment.file_id == XetFile.id)
        .group_by(XetFile.id)
        .having(total != XetFile.size)
    )
    for name, size, found in session.execute(query).all():
        yield f"The chunks of the file {name} have {found:,} bytes, not {size:,}."


def _xorbs(hub: Hub, session: Session) -> Iterator[str]:
    with session.scalars(select(Xorb).execution_options(yield_per=1000)) as rows:
        for some in rows.partitions(1000):
            xorbs = [stored(row) for row in some]
            sizes = hub.xorbs.files.sizes(xorbs)
            for xorb in xorbs:
                size = sizes.get(xorb.hash)
                if size is None:
                    yield f"The xorb {xorb.hash} is missing."
                elif size != xorb.file_size:
                    yield f"The xorb {xorb.hash} has another size in the store than it should."
