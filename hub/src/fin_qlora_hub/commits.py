"""Changes to a branch: each commit happens whole or not at all, and conflicts are noticed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from fin_qlora_hub.blobs import BlobStore, Content, StagedBlob
from fin_qlora_hub.cards import CARD_FILE, CONFIGURATION_FILES, MAX_CARD_BYTES, describe
from fin_qlora_hub.errors import BadRequestError, EntryNotFoundError, ParentConflictError
from fin_qlora_hub.gitobjects import commit_id
from fin_qlora_hub.identity import Caller
from fin_qlora_hub.names import check_path, normalise_path
from fin_qlora_hub.references import BRANCHES, DEFAULT_BRANCH, commit_of, find_branch, resolve
from fin_qlora_hub.tables import Commit, Reference, Repository, RepositoryTag, StoredFile
from fin_qlora_hub.trees import (
    LARGE_FILE_SUFFIXES,
    FileEntry,
    all_files,
    file_entry,
    write_tree,
)

_MISSING = "A file with this name doesn't exist: {}"


@dataclass(frozen=True)
class AddFile:
    """Put received bytes at a path."""

    path: str
    blob: StagedBlob


@dataclass(frozen=True)
class AddStored:
    """Put bytes at a path that were uploaded to this repository before."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Delete:
    """Remove a file, or a folder with all that is in it."""

    path: str


@dataclass(frozen=True)
class Copy:
    """Put the file at `source` of some revision (the branch's own by default) at a path."""

    path: str
    source: str
    revision: str | None


Operation = AddFile | AddStored | Delete | Copy


@dataclass(frozen=True)
class Change:
    """Everything that one commit is asked to do."""

    title: str
    message: str
    operations: Sequence[Operation]
    parent: str | None = None


def begin_history(
    session: Session, blobs: BlobStore, repository: Repository, *, author: Caller
) -> Commit:
    """Make `main` with the first commit, which says which files git would keep as pointers."""
    attributes = "".join(
        f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_FILE_SUFFIXES
    )
    writer = blobs.writer(limit=len(attributes))
    writer.write(attributes.encode())
    change = Change("initial commit", "", [AddFile(".gitattributes", writer.finish())])
    files = _apply(session, repository, {}, change.operations)
    commit = _record(session, repository, files, change=change, author=author, parent=None)
    session.add(
        Reference(
            repository_id=repository.id,
            name=BRANCHES + DEFAULT_BRANCH,
            commit_oid=commit.oid,
            created_at=commit.created_at,
        )
    )
    _publish(session, blobs, repository, change.operations)
    _describe(session, blobs, repository, files)
    return commit


def create(
    session: Session,
    blobs: BlobStore,
    repository: Repository,
    *,
    branch: str,
    change: Change,
    author: Caller,
) -> Commit:
    """Apply a change to a branch and return the commit that holds it.

    The session must be a writing one: it holds the lock under which the head is read and moved.
    A change that leads to the files that are already there returns the present head, so that a
    client may safely send a commit again whose answer it lost.

    Raises ParentConflictError when the branch is no longer at `change.parent`.
    """
    reference = find_branch(session, repository, branch)
    head = commit_of(session, repository, reference.commit_oid)
    if change.parent is not None:
        base = resolve(session, repository, change.parent)
        if base.oid != head.oid:
            if _is_replay(session, repository, change, base=base, head=head):
                return head
            raise ParentConflictError(
                "A commit has happened since. Please refresh and try again: "
                f"{branch} is at {head.oid}, not at {change.parent}."
            )
    before = all_files(session, repository.id, head.tree_oid)
    files = _apply(session, repository, before, change.operations)
    if files == before:
        return head
    commit = _record(session, repository, files, change=change, author=author, parent=head.oid)
    reference.commit_oid = commit.oid
    repository.updated_at = datetime.now(UTC)
    _publish(session, blobs, repository, change.operations)
    if reference.name == BRANCHES + DEFAULT_BRANCH:
        _describe(session, blobs, repository, files)
    return commit


def _is_replay(
    session: Session, repository: Repository, change: Change, *, base: Commit, head: Commit
) -> bool:
    if head.parent_oid != base.oid or head.title != change.title:
        return False
    before = all_files(session, repository.id, base.tree_oid)
    after = all_files(session, repository.id, head.tree_oid)
    try:
        return _apply(session, repository, before, change.operations) == after
    except EntryNotFoundError:
        return False


def _apply(
    session: Session,
    repository: Repository,
    before: Mapping[str, FileEntry],
    operations: Iterable[Operation],
) -> dict[str, FileEntry]:
    files = dict(before)
    for operation in operations:
        if isinstance(operation, Delete):
            _remove(files, normalise_path(operation.path.rstrip("/")))
            continue
        path = check_path(operation.path)
        if isinstance(operation, AddFile):
            files[path] = file_entry(path, operation.blob.content)
        elif isinstance(operation, AddStored):
            content = _stored_content(session, repository, operation.sha256)
            files[path] = file_entry(path, content)
        else:
            source = normalise_path(operation.source)
            origin: Mapping[str, FileEntry] = before
            if operation.revision is not None:
                tree = resolve(session, repository, operation.revision).tree_oid
                origin = all_files(session, repository.id, tree)
            if source not in origin:
                raise EntryNotFoundError(_MISSING.format(source))
            files[path] = file_entry(path, origin[source].content)
    return files


def _remove(files: dict[str, FileEntry], path: str) -> None:
    inside = [name for name in files if name == path or name.startswith(path + "/")]
    if not inside:
        raise EntryNotFoundError(_MISSING.format(path))
    for name in inside:
        del files[name]


def _stored_content(session: Session, repository: Repository, sha256: str) -> Content:
    # Only what this repository received: a hash alone must not open another's files.
    stored = session.get(StoredFile, (repository.id, sha256))
    if stored is None:
        raise BadRequestError(
            f"The content {sha256} was never uploaded to this repository: send the file itself."
        )
    return Content(stored.sha256, stored.git_sha1, stored.size)


def _record(
    session: Session,
    repository: Repository,
    files: Mapping[str, FileEntry],
    *,
    change: Change,
    author: Caller,
    parent: str | None,
) -> Commit:
    tree = write_tree(session, repository.id, files)
    now = datetime.now(UTC).replace(microsecond=0)
    message = f"{change.title}\n\n{change.message}".rstrip("\n")
    oid = commit_id(
        tree=tree,
        parents=[parent] if parent else [],
        author=f"{author.name} <{author.email or author.name + '@users.invalid'}>",
        when=now,
        message=message,
    )
    return session.merge(
        Commit(
            repository_id=repository.id,
            oid=oid,
            tree_oid=tree,
            parent_oid=parent,
            author=author.name,
            title=change.title,
            message=change.message,
            created_at=now,
        )
    )


def _publish(
    session: Session,
    blobs: BlobStore,
    repository: Repository,
    operations: Iterable[Operation],
) -> None:
    """Make the contents readable before the transaction that names them can end."""
    staged = [operation.blob for operation in operations if isinstance(operation, AddFile)]
    blobs.publish(staged)
    for content in {blob.content for blob in staged}:
        session.merge(
            StoredFile(
                repository_id=repository.id,
                sha256=content.sha256,
                git_sha1=content.git_sha1,
                size=content.size,
            )
        )


def _describe(
    session: Session, blobs: BlobStore, repository: Repository, files: Mapping[str, FileEntry]
) -> None:
    texts = {
        path: b"".join(blobs.read(files[path].content.sha256))
        for path in (CARD_FILE, *CONFIGURATION_FILES)
        if path in files and files[path].content.size <= MAX_CARD_BYTES
    }
    card = describe(texts, paths=files)
    repository.card = card.to_json()
    session.execute(delete(RepositoryTag).filter_by(repository_id=repository.id))
    session.add_all(RepositoryTag(repository_id=repository.id, tag=tag) for tag in card.tags)
