"""The large files of a repository: all that any of its commits holds."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fin_qlora_hub.git.references import BRANCHES, DEFAULT_BRANCH, commit_of, list_references
from fin_qlora_hub.git.trees import all_files
from fin_qlora_hub.metadata.tables import Reference, Repository, TreeEntry, XetFile

PAGE = 100
MAX_REFERENCES = 20


@dataclass(frozen=True)
class LargeFile:
    """A large file; `size` is in bytes.

    `path` is where `ref` holds it. One of former commits alone has the path that it had in one of
    them, and `main` for want of a better name.
    """

    sha256: str
    path: str
    ref: str
    size: int
    pushed_at: datetime


def list_large_files(
    session: Session, repository: Repository, *, after: str = ""
) -> Sequence[LargeFile]:
    """Return a page of the large files that any commit holds, and one more, by their SHA-256."""
    pushed_at = func.coalesce(XetFile.created_at, repository.updated_at)
    query = (
        select(TreeEntry.sha256, TreeEntry.size, pushed_at)
        .outerjoin(
            XetFile,
            (XetFile.repository_id == TreeEntry.repository_id)
            & (XetFile.sha256 == TreeEntry.sha256),
        )
        .where(
            TreeEntry.repository_id == repository.id,
            TreeEntry.large.is_(True),
            TreeEntry.sha256 > after,
        )
        .group_by(TreeEntry.sha256, TreeEntry.size, XetFile.created_at)
        .order_by(TreeEntry.sha256)
        .limit(PAGE + 1)
    )
    rows = [(s, n, when) for s, n, when in session.execute(query) if s is not None]
    wanted = {sha256 for sha256, _, _ in rows}
    places = _places(session, repository, wanted)
    former = _former_paths(session, repository, wanted - places.keys())
    main = BRANCHES + DEFAULT_BRANCH
    found = []
    for sha256, size, when in rows:
        path, ref = places.get(sha256) or (former[sha256], main)
        found.append(LargeFile(sha256, path, ref, size or 0, when))
    return found


def _places(
    session: Session, repository: Repository, wanted: Collection[str]
) -> dict[str, tuple[str, str]]:
    """Return path and reference of those that stand at the head of one, `main` before others."""
    places: dict[str, tuple[str, str]] = {}
    for reference in _references(session, repository):
        if len(places) == len(wanted):
            break
        tree = commit_of(session, repository, reference.commit_oid).tree_oid
        for path, file in all_files(session, repository.id, tree).items():
            sha256 = file.content.sha256
            if file.large and sha256 in wanted and sha256 not in places:
                places[sha256] = path, reference.name
    return places


def _references(session: Session, repository: Repository) -> Iterator[Reference]:
    known = list_references(session, repository)
    every = [*known.branches, *known.tags, *known.pull_requests]
    every.sort(key=lambda reference: reference.name != BRANCHES + DEFAULT_BRANCH)
    yield from every[:MAX_REFERENCES]


def _former_paths(
    session: Session, repository: Repository, wanted: Collection[str]
) -> dict[str, str]:
    """Return a path of each in some former commit: climb from its folder to the root."""
    if not wanted:
        return {}
    mine = TreeEntry.repository_id == repository.id
    folders = select(TreeEntry.oid, TreeEntry.tree_oid, TreeEntry.name).where(
        mine, TreeEntry.sha256.is_(None)
    )
    above = {oid: (tree, name) for oid, tree, name in session.execute(folders)}
    files = (
        select(TreeEntry.sha256, TreeEntry.tree_oid, TreeEntry.name)
        .where(mine, TreeEntry.sha256.in_(wanted), TreeEntry.large.is_(True))
        .order_by(TreeEntry.name.desc())
    )
    paths = {}
    for sha256, folder, name in session.execute(files):
        path = name
        while folder in above:
            folder, parent = above[folder]
            path = f"{parent}/{path}"
        paths[sha256] = path
    return {sha256: path for sha256, path in paths.items() if sha256 is not None}
