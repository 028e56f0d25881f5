"""What happened before a commit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from fin_qlora_hub.references import commit_of
from fin_qlora_hub.tables import Commit, Repository
from fin_qlora_hub.trees import Entry, FolderEntry, named


def history(session: Session, repository: Repository, start: Commit) -> Iterator[Commit]:
    """Yield a commit and those before it, newest first."""
    yield start
    while start.parent_oid is not None:
        start = commit_of(session, repository, start.parent_oid)
        yield start


def last_changes(
    session: Session, repository: Repository, start: Commit, paths: Iterable[str]
) -> dict[str, Commit]:
    """Return for each path the newest commit, up to `start`, that changed what stands there."""
    found: dict[str, Commit] = {}
    remaining = set(paths)
    for commit in history(session, repository, start):
        before = None
        if commit.parent_oid is not None:
            before = commit_of(session, repository, commit.parent_oid).tree_oid
        changed = _changed(session, repository.id, commit.tree_oid, before, remaining)
        found.update(dict.fromkeys(changed, commit))
        remaining -= changed
        if not remaining:
            break
    return found


@dataclass
class _Node:
    """The wanted paths that share a beginning, as a tree of names."""

    path: str | None = None
    below: dict[str, "_Node"] = field(default_factory=dict)


def _changed(
    session: Session, repository_id: int, after: str, before: str | None, paths: Iterable[str]
) -> set[str]:
    """Return the paths at which two trees differ; equal folders are never opened."""
    root = _Node()
    for path in paths:
        node = root
        for name in path.split("/"):
            node = node.below.setdefault(name, _Node())
        node.path = path
    changed: set[str] = set()
    open_pairs: list[tuple[_Node, str | None, str | None]] = [(root, after, before)]
    while open_pairs:
        node, new, old = open_pairs.pop()
        if new == old:
            continue
        new_entries = _named(session, repository_id, new, node)
        old_entries = _named(session, repository_id, old, node)
        for name, below in node.below.items():
            pair = new_entries.get(name), old_entries.get(name)
            if pair[0] != pair[1]:
                if below.path is not None:
                    changed.add(below.path)
                open_pairs.append((below, _folder(pair[0]), _folder(pair[1])))
    return changed


def _named(session: Session, repository_id: int, oid: str | None, node: _Node) -> dict[str, Entry]:
    if oid is None or not node.below:
        return {}
    return named(session, repository_id, oid, node.below.keys())


def _folder(entry: Entry | None) -> str | None:
    return entry.oid if isinstance(entry, FolderEntry) else None
