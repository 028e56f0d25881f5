"""Repositories taken in from a bundle, once every digest in it has been verified."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import find_namespace
from fin_qlora_hub.access.names import check_reference_name, check_repository_name
from fin_qlora_hub.access.protection import require_movable
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.cards.descriptions import keep_card, make_card
from fin_qlora_hub.care.bundles import Opened, open_bundle
from fin_qlora_hub.care.described import DescribedEntry, DescribedRepository
from fin_qlora_hub.errors import BadBundleError, NotFoundError, ParentConflictError
from fin_qlora_hub.git.history import history
from fin_qlora_hub.git.references import (
    BRANCHES,
    DEFAULT_BRANCH,
    TAGS,
    commit_of,
    require_no_twin,
)
from fin_qlora_hub.git.trees import Entry, FileEntry, FolderEntry, Tree, all_files, store_tree
from fin_qlora_hub.hub import Hub
from fin_qlora_hub.metadata.locking import collection_lock
from fin_qlora_hub.metadata.tables import Commit, Namespace, Reference, Repository
from fin_qlora_hub.repositories.repository import RepositoryName, add_empty, find_repository
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.stores.holding import hold


@dataclass(frozen=True)
class Imported:
    """The repositories that were made or brought up to date, and whose signature they carry."""

    repositories: tuple[str, ...]
    signer: str


def take_in(
    hub: Hub, bundle: IO[bytes], *, trusted: Sequence[Ed25519PublicKey], into: str | None = None
) -> Imported:
    """Make the repositories of a bundle, or bring them up to date, all of them or none.

    They go to the namespaces that they come from, or all `into` one; those must be there. New ones
    are private. Branches only go forward and tags never move: where the hub has gone another way,
    ParentConflictError. Raises BadBundleError for a bundle that is not wholly as it was signed.
    """
    opened = open_bundle(bundle, trusted)
    try:
        repositories = [DescribedRepository.model_validate_json(d) for d in opened.repositories()]
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise BadBundleError(f"The bundle describes what cannot be: {reason}.") from error
    _check_names(repositories)
    files = {sha256: file for one in repositories for sha256, file in one.files().items()}
    if {p.sha256: p.size for p in opened.manifest.contents} != {
        sha256: file.size for sha256, file in files.items()
    }:
        raise BadBundleError("The bundle has other contents than its repositories need.")
    with hub.database.reading() as session:  # before the bytes
        for one in repositories:
            _namespace(session, one, into)
    with collection_lock(hub.settings, hub.database, exclusive=False):  # none is removed again
        return _import(hub, opened, repositories, files, into)


def _import(
    hub: Hub,
    opened: Opened,
    repositories: Sequence[DescribedRepository],
    files: dict[str, DescribedEntry],
    into: str | None,
) -> Imported:
    git_ids = _keep_contents(hub, opened, files)
    for one in repositories:
        for entry in one.entries():
            if entry.git_sha1 is not None and entry.git_sha1 != git_ids[entry.sha256 or ""]:
                raise BadBundleError(f"The content {entry.sha256} is not what its git id says.")
    with hub.database.writing() as session:
        names = tuple(_take_in(hub, session, one, into, opened.signer) for one in repositories)
    return Imported(names, opened.signer)


def _check_names(repositories: Sequence[DescribedRepository]) -> None:
    for one in repositories:
        check_repository_name(one.name)
        names = [reference.name for reference in one.references]
        if BRANCHES + DEFAULT_BRANCH not in names:
            raise BadBundleError(f"{one.namespace}/{one.name} has no branch main.")
        for name in names:
            prefix = BRANCHES if name.startswith(BRANCHES) else TAGS
            check_reference_name(name.removeprefix(prefix), what="Reference")


def _keep_contents(
    hub: Hub, opened: Opened, files: dict[str, DescribedEntry]
) -> dict[str, str | None]:
    """Store every content of a bundle; return the ids that git gives to them, where asked for."""
    found = {}
    for part, pieces in opened.contents():
        inline = files[part.sha256].git_sha1 is not None
        writer = hub.blobs.writer(limit=part.size, inline=inline)
        try:
            for piece in pieces:  # verified once the last one has come
                writer.write(piece)
            staged = writer.finish()
            found[part.sha256] = staged.content.git_sha1
            hub.blobs.publish([staged])
        finally:
            writer.discard()
    return found


def _take_in(
    hub: Hub, session: Session, one: DescribedRepository, into: str | None, signer: str
) -> str:
    namespace = _namespace(session, one, into)
    name = RepositoryName(one.kind, namespace.name, one.name)
    repository = find_repository(session, name)
    if repository is None:
        repository = add_empty(session, name, namespace, private=True)
        repository.gated = one.gated
    for sha256, file in one.files().items():
        hold(session, repository.id, Content(sha256, file.git_sha1, file.size or 0))
    folders = {f.oid: {e.name: _entry(e) for e in f.entries} for f in one.folders}
    store_tree(session, repository.id, Tree("", folders))
    _keep_commits(session, repository, one)
    session.flush()
    for reference in one.references:
        known = session.get(Reference, (repository.id, reference.name))
        if known is None:
            require_no_twin(session, repository, reference.name)
            session.add(
                Reference(
                    repository_id=repository.id,
                    name=reference.name,
                    commit_oid=reference.oid,
                    message=reference.message,
                    created_at=datetime.fromtimestamp(reference.created_at, UTC),
                )
            )
        elif known.commit_oid != reference.oid:
            _forward(session, repository, known, reference.oid)
    session.flush()
    main = session.get_one(Reference, (repository.id, BRANCHES + DEFAULT_BRANCH))
    head = commit_of(session, repository, main.commit_oid)
    present = all_files(session, repository.id, head.tree_oid)
    keep_card(session, repository, make_card(session, hub.storage, repository, present, staged={}))
    repository.updated_at = datetime.now(UTC)
    record(session, Act.REPOSITORY_IMPORTED, repository, signer=signer, commit=main.commit_oid)
    return str(name)


def _namespace(session: Session, one: DescribedRepository, into: str | None) -> Namespace:
    found = find_namespace(session, into or one.namespace)
    if found is None:
        raise NotFoundError(
            f"There is no user or organization {into or one.namespace!r} here: add one, or say "
            "--into which."
        )
    return found


def _keep_commits(session: Session, repository: Repository, one: DescribedRepository) -> None:
    known = set(session.scalars(select(Commit.oid).filter_by(repository_id=repository.id)))
    session.add_all(
        Commit(
            repository_id=repository.id,
            oid=commit.oid,
            tree_oid=commit.tree,
            parent_oid=commit.parent,
            author=commit.author[:96],
            title=commit.title,
            message=commit.message,
            request_digest="",
            created_at=commit.moment,
        )
        for commit in one.commits
        if commit.oid not in known
    )


def _forward(session: Session, repository: Repository, known: Reference, oid: str) -> None:
    target = commit_of(session, repository, oid)
    before = (commit.oid for commit in history(session, repository, target))
    require_movable(session, repository, [known.name])
    if known.name.startswith(TAGS) or known.commit_oid not in before:
        raise ParentConflictError(
            f"{known.name} of {repository.namespace.name}/{repository.name} is at "
            f"{known.commit_oid} here, which the bundle's {oid} does not follow: nothing was taken."
        )
    known.commit_oid = oid


def _entry(entry: DescribedEntry) -> Entry:
    if entry.sha256 is None:
        return FolderEntry(entry.oid)
    content = Content(entry.sha256, entry.git_sha1, entry.size or 0)
    return FileEntry(entry.oid, content, bool(entry.large))
