"""Changes to a branch: each commit happens whole or not at all, and conflicts are noticed.

A commit is planned while others may read and write, then carried out in one short transaction that
moves the branch only if it is still where the plan found it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.names import check_path, normalise_path
from fin_qlora_hub.access.protection import require_movable
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.cards.card import Card
from fin_qlora_hub.cards.descriptions import keep_card, make_card
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import BadRequestError, EntryNotFoundError, ParentConflictError
from fin_qlora_hub.git.history import history
from fin_qlora_hub.git.operations import AddFile, AddStored, Change, Delete
from fin_qlora_hub.git.references import BRANCHES, DEFAULT_BRANCH, commit_of, find_branch, resolve
from fin_qlora_hub.git.trees import (
    LARGE_FILE_SUFFIXES,
    Entry,
    FileEntry,
    Tree,
    all_files,
    build_tree,
    file_entry,
    find_entry,
    store_tree,
)
from fin_qlora_hub.gitobjects import commit_id
from fin_qlora_hub.metadata.quotas import grow
from fin_qlora_hub.metadata.tables import Commit, Reference, Repository, StoredFile
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.text import shortened

REPEAT_WINDOW = timedelta(minutes=10)
_NO_TREE = Tree("", {})
_MISSING = "A file with this name doesn't exist: {}"


class BranchMovedError(Exception):
    """The branch is no longer where the plan found it: plan again."""


@dataclass(frozen=True)
class Plan:
    """A change worked out against the head of a branch.

    `done` is set where there is nothing left to do: the change is in this commit already.
    `card` is set where the commit gives the repository another one. `copied` are the SHA-256 of
    what stands elsewhere in the repository until the plan is carried out.
    """

    branch: str
    head: str
    change: Change
    digest: str
    tree: Tree
    done: str | None = None
    card: Card | None = None
    copied: frozenset[str] = frozenset()


def begin_history(
    session: Session, storage: Storage, repository: Repository, *, author: Caller
) -> Commit:
    """Make `main` with the first commit, which says which files git would keep as pointers."""
    attributes = "".join(
        f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_FILE_SUFFIXES
    )
    writer = storage.blobs.writer(limit=len(attributes))
    try:
        writer.write(attributes.encode())
        staged = writer.finish()
        change = Change("initial commit", "", [AddFile(".gitattributes", staged)])
        branch = BRANCHES + DEFAULT_BRANCH
        files = _apply(session, repository, {}, change, copied=set())
        staged_blobs = {staged.content.sha256: staged}
        card = make_card(session, storage, repository, files, staged=staged_blobs)
        digest = change.digest(author=author.name, branch=branch)
        plan = Plan(branch, "", change, digest, build_tree(files), card=card)
        commit = _record(session, repository, plan, author=author)
        session.add(
            Reference(
                repository_id=repository.id,
                name=branch,
                commit_oid=commit.oid,
                created_at=commit.created_at,
            )
        )
        storage.blobs.publish(change.blobs)
    finally:
        writer.discard()  # harmless once the bytes are published
    return commit


def plan_commit(
    session: Session,
    storage: Storage,
    repository: Repository,
    *,
    branch: str,
    change: Change,
    author: Caller,
    published: bool = False,
    digest: str | None = None,
) -> Plan:
    """Work out what a change makes of a branch; nothing is stored.

    `published` says that the contents of the change are in the blob store already; `digest` is
    given where the same request would not name the same branch again.

    A change whose result is there already, or that was committed before in the very same words,
    needs nothing more: a client may safely send a commit again whose answer it lost.

    Raises ParentConflictError when the branch is no longer at `change.parent`.
    """
    reference = find_branch(session, repository, branch)
    head = commit_of(session, repository, reference.commit_oid)
    digest = digest or change.digest(author=author.name, branch=reference.name)
    base = None if change.parent is None else resolve(session, repository, change.parent)
    earlier = _same_request(session, repository, digest, head=head, base=base)
    if earlier is not None:
        return Plan(reference.name, head.oid, change, digest, _NO_TREE, done=earlier.oid)
    require_movable(session, repository, [reference.name])
    if base is not None and base.oid != head.oid:
        raise ParentConflictError(
            # Programs look for these words, older ones for the second half of them.
            "The branch was updated since you opened this page. Please refresh and try again. "
            "A commit has happened since. Please refresh and try again. "
            f"({branch} is at {head.oid}, not at {shortened(change.parent or '')}.)"
        )
    before = all_files(session, repository.id, head.tree_oid)
    copied: set[str] = set()
    files = _apply(session, repository, before, change, copied=copied)
    if files == before:
        return Plan(reference.name, head.oid, change, digest, _NO_TREE, done=head.oid)
    tree = build_tree(files)
    card = None
    if reference.name == BRANCHES + DEFAULT_BRANCH:
        staged = () if published else change.blobs
        received = {b.content.sha256: b for b in staged}
        card = make_card(session, storage, repository, files, staged=received)
    held = frozenset(copied)
    return Plan(reference.name, head.oid, change, digest, tree, card=card, copied=held)


def carry_out(session: Session, repository: Repository, plan: Plan, *, author: Caller) -> str:
    """Store what was planned and move the branch; return the id of the commit.

    The session must be a writing one, and the contents of the change must be published: they are
    durable before any branch can name them. Raises BranchMovedError.
    """
    if plan.done is not None:
        return plan.done
    for sha256 in plan.change.stored:  # may have been collected since the plan
        _stored_content(session, repository, sha256)
    for sha256 in plan.copied:  # may have been taken out for good since: then plan anew
        if session.get(StoredFile, (repository.id, sha256)) is None:
            raise BranchMovedError
    require_movable(session, repository, [plan.branch])  # may have been protected since
    commit = _record(session, repository, plan, author=author)
    session.flush()
    moved = session.execute(
        update(Reference)
        .where(
            Reference.repository_id == repository.id,
            Reference.name == plan.branch,
            Reference.commit_oid == plan.head,
        )
        .values(commit_oid=commit.oid)
    )
    assert isinstance(moved, CursorResult)
    if moved.rowcount != 1:
        raise BranchMovedError
    repository.updated_at = datetime.now(UTC)
    moved_to = {"ref": plan.branch, "former": plan.head, "commit": commit.oid}
    record(session, Act.BRANCH_COMMITTED, repository, **moved_to, title=shortened(commit.title))
    return commit.oid


def find_request(session: Session, repository: Repository, digest: str) -> Commit | None:
    """Return the commit that the same request made on any branch a short while ago."""
    query = select(Commit).where(
        Commit.repository_id == repository.id,
        Commit.request_digest == digest,
        Commit.created_at >= datetime.now(UTC) - REPEAT_WINDOW,
    )
    return session.scalars(query.order_by(Commit.created_at).limit(1)).first()


def _same_request(
    session: Session, repository: Repository, digest: str, *, head: Commit, base: Commit | None
) -> Commit | None:
    """Return the commit on the branch that the same request made, if it is no new wish.

    Without a parent, a client might want the same again some day: then only a recent one counts.
    """
    query = select(Commit).filter_by(repository_id=repository.id, request_digest=digest)
    if base is None:
        query = query.where(Commit.created_at >= datetime.now(UTC) - REPEAT_WINDOW)
    else:
        query = query.where(Commit.parent_oid == base.oid)
    made = session.scalars(query.order_by(Commit.created_at)).all()
    if not made:
        return None
    for commit in history(session, repository, head):
        if commit in made:
            return commit
        if commit.created_at < made[0].created_at:
            break
    return None


def _apply(
    session: Session,
    repository: Repository,
    before: Mapping[str, FileEntry],
    change: Change,
    *,
    copied: set[str],
) -> dict[str, FileEntry]:
    """Return the files after a change; add to `copied` the contents that it takes from others."""
    files = dict(before)
    for operation in change.operations:
        if isinstance(operation, Delete):
            _remove(files, normalise_path(operation.path.rstrip("/")))
            continue
        path = check_path(operation.path)
        if isinstance(operation, AddFile):
            files[path] = file_entry(path, operation.blob.content)
        elif isinstance(operation, AddStored):
            content = _stored_content(session, repository, operation.sha256)
            files[path] = file_entry(path, content, pointer=True)
        else:
            source = normalise_path(operation.source)
            origin: Entry | None = before.get(source)
            if operation.revision is not None:
                tree = resolve(session, repository, operation.revision).tree_oid
                origin = find_entry(session, repository.id, tree, source)
            if not isinstance(origin, FileEntry):
                raise EntryNotFoundError(_MISSING.format(shortened(source)))
            copied.add(origin.content.sha256)
            files[path] = file_entry(path, origin.content, pointer=origin.large)
    return files


def _remove(files: dict[str, FileEntry], path: str) -> None:
    if files.pop(path, None) is not None:
        return
    inside = [name for name in files if name.startswith(path + "/")]
    if not inside:
        raise EntryNotFoundError(_MISSING.format(shortened(path)))
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


def _record(session: Session, repository: Repository, plan: Plan, *, author: Caller) -> Commit:
    store_tree(session, repository.id, plan.tree)
    now = datetime.now(UTC).replace(microsecond=0)
    change = plan.change
    oid = commit_id(
        tree=plan.tree.root,
        parents=[plan.head] if plan.head else [],
        author=f"{author.name} <{author.email or author.name + '@users.invalid'}>",
        when=now,
        message=f"{change.title}\n\n{change.message}".rstrip("\n"),
    )
    for content in {blob.content for blob in change.blobs}:
        if session.get(StoredFile, (repository.id, content.sha256)) is None:
            grow(session, repository.id, content.sha256, size=content.size)
        session.merge(
            StoredFile(
                repository_id=repository.id,
                sha256=content.sha256,
                git_sha1=content.git_sha1,
                size=content.size,
                sent_at=datetime.now(UTC),
            )
        )
    if plan.card is not None:
        keep_card(session, repository, plan.card)
    return session.merge(
        Commit(
            repository_id=repository.id,
            oid=oid,
            tree_oid=plan.tree.root,
            parent_oid=plan.head or None,
            author=author.name,
            title=change.title,
            message=change.message,
            request_digest=plan.digest,
            created_at=now,
        )
    )
