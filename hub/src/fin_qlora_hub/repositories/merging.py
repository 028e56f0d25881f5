"""Merging pull requests: file by file, against what the target has become meanwhile."""

import difflib
from dataclasses import dataclass

from sqlalchemy.orm import Session

from fin_qlora_hub.access.identity import Caller
from fin_qlora_hub.contents.storage import Storage
from fin_qlora_hub.errors import AlreadyExistsError, BadRequestError
from fin_qlora_hub.git.operations import Change, Copy, Delete, Operation
from fin_qlora_hub.git.references import PULL_REQUESTS, commit_of, find_branch
from fin_qlora_hub.git.trees import FileEntry, all_files
from fin_qlora_hub.metadata.tables import Discussion, Repository
from fin_qlora_hub.repositories.commits import carry_out, plan_commit
from fin_qlora_hub.repositories.discussions import OPEN_STATUSES, note_merge

MAX_SHOWN_BYTES = 64 * 1024
MAX_SHOWN_FILES = 50


@dataclass(frozen=True)
class Difference:
    """What a pull request changes: each path with the file before and after, None for none.

    `conflicts` names the paths that the target has changed as well, in another way.
    """

    head: str
    changed: dict[str, tuple[FileEntry | None, FileEntry | None]]
    conflicts: tuple[str, ...]


def difference(session: Session, repository: Repository, pull_request: Discussion) -> Difference:
    """Compare a pull request with where it began and with where its target is now."""
    assert pull_request.base is not None
    assert pull_request.base_oid is not None
    head = find_branch(session, repository, f"{PULL_REQUESTS}{pull_request.num}").commit_oid
    target = find_branch(session, repository, pull_request.base).commit_oid

    def files(oid: str) -> dict[str, FileEntry]:
        return all_files(session, repository.id, commit_of(session, repository, oid).tree_oid)

    before, mine, theirs = files(pull_request.base_oid), files(head), files(target)
    changed = {
        path: (before.get(path), mine.get(path))
        for path in sorted(before.keys() | mine.keys())
        if before.get(path) != mine.get(path)
    }
    conflicts = tuple(
        path for path, (old, new) in changed.items() if theirs.get(path) not in (old, new)
    )
    return Difference(head, changed, conflicts)


def merge(
    session: Session,
    storage: Storage,
    repository: Repository,
    pull_request: Discussion,
    *,
    author: Caller,
    message: str = "",
) -> str:
    """Bring a pull request into its target as one commit; return the id of that.

    The session must be a writing one. Raises AlreadyExistsError where both changed a file.
    """
    if not pull_request.is_pull_request or pull_request.status not in OPEN_STATUSES:
        raise BadRequestError(f"Discussion {pull_request.num} is no pull request that is open.")
    assert pull_request.base is not None
    found = difference(session, repository, pull_request)
    if found.conflicts:
        raise AlreadyExistsError(
            f"Pull request {pull_request.num} changes files that were changed meanwhile: "
            f"{', '.join(found.conflicts[:10])}. Bring it up to date first."
        )
    current = find_branch(session, repository, pull_request.base).commit_oid
    present = all_files(session, repository.id, commit_of(session, repository, current).tree_oid)
    operations: list[Operation] = []
    for path, (_, new) in found.changed.items():
        if new is not None:
            operations.append(Copy(path, path, found.head))
        elif path in present:
            operations.append(Delete(path))
    title = f"{pull_request.title} (#{pull_request.num})"
    change = Change(title, message, operations)
    plan = plan_commit(
        *(session, storage, repository),
        branch=pull_request.base,
        change=change,
        author=author,
        published=True,
    )
    oid = carry_out(session, repository, plan, author=author)
    note_merge(session, pull_request, oid=oid, author=author)
    return oid


def diff_text(session: Session, storage: Storage, repository: Repository, found: Difference) -> str:
    """Return the changes as text, as far as they are text and not too long."""

    def lines(entry: FileEntry | None) -> list[str] | None:
        if entry is None:
            return []
        if entry.large or entry.content.size > MAX_SHOWN_BYTES:
            return None
        content = entry.content
        source = storage.source(session, repository.id, content.sha256, size=content.size)
        try:
            return b"".join(source.read()).decode().splitlines(keepends=True)
        except UnicodeDecodeError:
            return None

    parts = []
    for path, (old, new) in list(found.changed.items())[:MAX_SHOWN_FILES]:
        parts.append(f"diff --git a/{path} b/{path}\n")
        before, after = lines(old), lines(new)
        if before is None or after is None:
            parts.append(f"Binary files a/{path} and b/{path} differ\n")
            continue
        names = (
            ("/dev/null" if old is None else f"a/{path}"),
            ("/dev/null" if new is None else f"b/{path}"),
        )
        for line in difflib.unified_diff(before, after, *names):
            parts.append(line if line.endswith("\n") else line + "\n")
    return "".join(parts)
