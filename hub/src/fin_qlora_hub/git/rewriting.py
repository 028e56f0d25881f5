"""Changing what has happened: large files taken out of every commit, a branch made one commit."""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.access.protection import require_loose, require_movable
from fin_qlora_hub.audit.acts import Act
from fin_qlora_hub.audit.record import record
from fin_qlora_hub.errors import BadRequestError
from fin_qlora_hub.git.references import commit_of, find_branch
from fin_qlora_hub.git.trees import FolderEntry, all_files, build_tree, store_tree, walk
from fin_qlora_hub.gitobjects import commit_id
from fin_qlora_hub.metadata.quotas import recount
from fin_qlora_hub.metadata.tables import (
    Commit,
    Discussion,
    Namespace,
    Reference,
    Repository,
    StoredFile,
    TreeEntry,
    XetFile,
)

_VALUES_PER_QUERY = 500


def remove_large_files(session: Session, repository: Repository, sha256s: Collection[str]) -> None:
    """Take contents out of every commit of a repository, for good.

    Commits that held one of them, and those after them, get other ids; branches, tags and pull
    requests follow. The bytes go with the next collection, unless others use them.
    """
    require_loose(session, repository)
    gone = set(sha256s)
    commits = list(session.scalars(select(Commit).filter_by(repository_id=repository.id)))
    before = _folders(session, repository, {commit.tree_oid for commit in commits})
    trees = {oid: _without(session, repository, oid, gone) for oid in {c.tree_oid for c in commits}}
    renamed: dict[str, str] = {}
    for commit in _parents_first(commits):
        parent = renamed.get(commit.parent_oid or "", commit.parent_oid)
        tree = trees[commit.tree_oid]
        if (parent, tree) != (commit.parent_oid, commit.tree_oid):
            renamed[commit.oid] = _again(session, commit, parent=parent, tree=tree)
    _follow(session, repository, renamed)
    after = _folders(session, repository, trees.values())
    for part in _parts(before - after):
        session.execute(
            delete(TreeEntry).where(
                TreeEntry.repository_id == repository.id, TreeEntry.tree_oid.in_(part)
            )
        )
    for part in _parts(gone):
        for kind in (XetFile, StoredFile):
            mine = kind.repository_id == repository.id
            session.execute(delete(kind).where(mine, kind.sha256.in_(part)))
    recount(session, repository.id)
    record(session, Act.CONTENTS_DELETED, repository, contents=sorted(gone), commits=renamed)


def squash(
    session: Session, repository: Repository, branch: str, *, message: str, author: Caller
) -> str:
    """Make a branch one commit of what it holds now; return the id of that.

    What was before stays readable by its hashes, tags and other branches.
    """
    reference = find_branch(session, repository, branch)
    require_loose(session, repository)
    require_movable(session, repository, [reference.name])
    head = commit_of(session, repository, reference.commit_oid)
    title = message.split("\n")[0].strip()
    if not title:
        raise BadRequestError("A squashed branch needs a message.")
    made = Commit(
        repository_id=repository.id,
        tree_oid=head.tree_oid,
        parent_oid=None,
        author=author.name,
        title=title,
        message=message[len(title) :].strip(),
        request_digest="",
        created_at=datetime.now(UTC).replace(microsecond=0),
    )
    made.oid = _commit_id(session, made)
    session.merge(made)
    reference.commit_oid = made.oid
    repository.updated_at = datetime.now(UTC)
    squashed = {"ref": reference.name, "former": head.oid, "commit": made.oid}
    record(session, Act.BRANCH_SQUASHED, repository, **squashed)
    return made.oid


def _without(session: Session, repository: Repository, oid: str, gone: set[str]) -> str:
    files = all_files(session, repository.id, oid)
    kept = {path: file for path, file in files.items() if file.content.sha256 not in gone}
    if len(kept) == len(files):
        return oid
    tree = build_tree(kept)
    store_tree(session, repository.id, tree)
    session.flush()
    return tree.root


def _folders(session: Session, repository: Repository, roots: Iterable[str]) -> set[str]:
    found = set(roots)
    for root in list(found):
        entries = walk(session, repository.id, root).values()
        found.update(entry.oid for entry in entries if isinstance(entry, FolderEntry))
    return found


def _parents_first(commits: Sequence[Commit]) -> list[Commit]:
    by_oid = {commit.oid: commit for commit in commits}
    ordered: dict[str, Commit] = {}
    for commit in commits:
        line = []
        current: Commit | None = commit
        while current is not None and current.oid not in ordered:
            line.append(current)
            current = by_oid.get(current.parent_oid or "")
        for one in reversed(line):
            ordered[one.oid] = one
    return list(ordered.values())


def _again(session: Session, commit: Commit, *, parent: str | None, tree: str) -> str:
    made = Commit(
        repository_id=commit.repository_id,
        tree_oid=tree,
        parent_oid=parent,
        author=commit.author,
        title=commit.title,
        message=commit.message,
        request_digest=commit.request_digest,
        created_at=commit.created_at,
    )
    made.oid = _commit_id(session, made)
    session.merge(made)
    session.delete(commit)
    session.flush()
    return made.oid


def _commit_id(session: Session, commit: Commit) -> str:
    user = session.scalar(select(Namespace).filter_by(name_key=commit.author.lower()))
    email = user.email if user is not None else None
    return commit_id(
        tree=commit.tree_oid,
        parents=[commit.parent_oid] if commit.parent_oid else [],
        author=f"{commit.author} <{email or commit.author + '@users.invalid'}>",
        when=commit.created_at,
        message=f"{commit.title}\n\n{commit.message}".rstrip("\n"),
    )


def _follow(session: Session, repository: Repository, renamed: dict[str, str]) -> None:
    references = session.execute(
        select(Reference.name, Reference.commit_oid).filter_by(repository_id=repository.id)
    )
    moved = [name for name, oid in references if oid in renamed]
    require_movable(session, repository, moved)
    for old, new in renamed.items():
        for column in (Reference.commit_oid, Discussion.base_oid, Discussion.merge_oid):
            owner = column.class_
            session.execute(
                update(owner)
                .where(owner.repository_id == repository.id, column == old)
                .values({column.key: new})
            )


def _parts(values: Iterable[str]) -> Iterable[list[str]]:
    whole = sorted(values)
    for start in range(0, len(whole), _VALUES_PER_QUERY):
        yield whole[start : start + _VALUES_PER_QUERY]
