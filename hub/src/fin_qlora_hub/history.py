"""What happened before a commit."""

from collections.abc import Iterable, Iterator

from sqlalchemy.orm import Session

from fin_qlora_hub.references import commit_of
from fin_qlora_hub.tables import Commit, Repository
from fin_qlora_hub.trees import walk


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
    after = walk(session, repository.id, start.tree_oid)
    remaining = set(paths)
    for commit in history(session, repository, start):
        before = {}
        if commit.parent_oid is not None:
            parent = commit_of(session, repository, commit.parent_oid)
            before = walk(session, repository.id, parent.tree_oid)
        changed = {path for path in remaining if after.get(path) != before.get(path)}
        found.update(dict.fromkeys(changed, commit))
        remaining -= changed
        if not remaining:
            break
        after = before
    return found
