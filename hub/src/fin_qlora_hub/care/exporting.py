"""Repositories written to a bundle, which another site can verify and take in."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from fin_qlora_hub import __version__
from fin_qlora_hub.access.gating import Gate
from fin_qlora_hub.access.identity import find_namespace
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.care.bundles import BundleWriter, Manifest, Part, fingerprint
from fin_qlora_hub.care.described import (
    EMPTY_TREE,
    DescribedCommit,
    DescribedEntry,
    DescribedFolder,
    DescribedReference,
    DescribedRepository,
)
from fin_qlora_hub.contents.awaited import require_whole
from fin_qlora_hub.contents.storage import Source
from fin_qlora_hub.errors import AlreadyExistsError, NotFoundError
from fin_qlora_hub.git.history import history
from fin_qlora_hub.git.references import BRANCHES, TAGS, commit_of
from fin_qlora_hub.git.trees import Entry, FileEntry, FolderEntry, folders_below
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.locking import collection_lock
from fin_qlora_hub.metadata.tables import Commit, Reference, Repository
from fin_qlora_hub.repositories.repository import Kind, RepositoryName, find_repository
from fin_qlora_hub.stores import disk


@dataclass(frozen=True)
class Exported:
    """What a bundle holds: numbers, and the bytes of its contents."""

    repositories: int
    contents: int
    size: int


def export(
    hub: Hub, names: Sequence[RepositoryName], target: Path, *, key: Ed25519PrivateKey
) -> Exported:
    """Write repositories, as they are at one moment, with all that their branches and tags hold.

    Discussions, pull requests and the rights of users stay behind. The file has its name only once
    it is whole. Raises NotFoundError, AlreadyExistsError, or BadBundleError where the hub's own
    bytes have changed.
    """
    if target.exists():
        raise AlreadyExistsError(f"{target} exists: choose another name.")
    with collection_lock(hub.settings, hub.database, exclusive=False):
        descriptions: list[bytes] = []
        sources: dict[str, Source] = {}
        with hub.database.reading() as session:
            for name in names:
                repository = find_repository(session, name)
                if repository is None:
                    raise NotFoundError(f"There is no {name.kind} {name} on this hub.")
                require_whole(session, repository)
                described = describe(session, repository)
                descriptions.append(described.model_dump_json().encode())
                for sha256, file in described.files().items():
                    size = file.size or 0
                    source = hub.storage.source(session, repository.id, sha256, size=size)
                    sources.setdefault(sha256, source)
        contents = [Part(sha256=sha256, size=sources[sha256].size) for sha256 in sorted(sources)]
        manifest = Manifest(
            hub=__version__,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            repositories=[
                Part(sha256=hashlib.sha256(d).hexdigest(), size=len(d)) for d in descriptions
            ],
            contents=contents,
        )
        _write(target, manifest, descriptions, sources, key)
    with hub.database.writing() as session:
        for name in names:
            signer = fingerprint(key.public_key())
            record(session, Act.REPOSITORY_EXPORTED, find_repository(session, name), signer=signer)
    size = sum(part.size for part in contents)
    return Exported(len(descriptions), len(contents), size)


def describe(session: Session, repository: Repository) -> DescribedRepository:
    """Return a repository without its contents."""
    references = session.scalars(
        select(Reference)
        .where(
            Reference.repository_id == repository.id,
            or_(Reference.name.startswith(BRANCHES), Reference.name.startswith(TAGS)),
        )
        .order_by(Reference.name)
    ).all()
    commits: dict[str, Commit] = {}
    for reference in references:
        line: dict[str, Commit] = {}
        for commit in history(
            session, repository, commit_of(session, repository, reference.commit_oid)
        ):
            if commit.oid in commits:
                break
            line[commit.oid] = commit
        commits.update(reversed(line.items()))
    folders = folders_below(session, repository.id, {c.tree_oid for c in commits.values()})
    return DescribedRepository(
        kind=Kind(repository.kind),
        namespace=repository.namespace.name,
        name=repository.name,
        gated=None if repository.gated is None else Gate(repository.gated),
        commits=[_commit(session, commit) for commit in commits.values()],
        folders=[
            DescribedFolder(oid=oid, entries=[_entry(name, e) for name, e in entries.items()])
            for oid, entries in sorted(folders.items())
            if oid != EMPTY_TREE
        ],
        references=[
            DescribedReference(
                name=reference.name,
                oid=reference.commit_oid,
                message=reference.message,
                created_at=int(reference.created_at.timestamp()),
            )
            for reference in references
        ],
    )


def _commit(session: Session, commit: Commit) -> DescribedCommit:
    described = DescribedCommit(
        oid=commit.oid,
        tree=commit.tree_oid,
        parent=commit.parent_oid,
        author=commit.author,
        email=None,
        title=commit.title,
        message=commit.message,
        created_at=int(commit.created_at.timestamp()),
    )
    user = find_namespace(session, commit.author)
    email = (user and user.email) or f"{commit.author}@users.invalid"
    if described.computed_oid(email) == commit.oid:
        return described.model_copy(update={"email": email})
    return described  # they had another address at that time


def _entry(name: str, entry: Entry) -> DescribedEntry:
    if isinstance(entry, FolderEntry):
        return DescribedEntry(name=name, oid=entry.oid)
    assert isinstance(entry, FileEntry)
    return DescribedEntry(
        name=name,
        oid=entry.oid,
        sha256=entry.content.sha256,
        git_sha1=entry.content.git_sha1,
        size=entry.content.size,
        large=entry.large,
    )


def _write(
    target: Path,
    manifest: Manifest,
    descriptions: Sequence[bytes],
    sources: dict[str, Source],
    key: Ed25519PrivateKey,
) -> None:
    incoming = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with incoming.open("xb") as handle:
            bundle = BundleWriter(handle, manifest, key)
            for number, description in enumerate(descriptions):
                bundle.repository(number, description)
            for part in manifest.contents:
                bundle.content(part, sources[part.sha256].read())
            bundle.close()
        disk.sync_file(incoming)
        disk.put_in_place(incoming, target)
    finally:
        incoming.unlink(missing_ok=True)
