"""What happened before a commit, read many commits at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from sqlalchemy import bindparam, literal, select
from sqlalchemy.orm import Session

from fin_qlora_hub.git.references import commit_of
from fin_qlora_hub.metadata.tables import Commit, Repository, TreeEntry

# The nearest commits are most often enough: the first blocks are small.
_FIRST_BLOCK, _LARGEST_BLOCK = 8, 256
_ROWS_AT_ONCE = 4000
_commits, _entries = Commit.__table__.c, TreeEntry.__table__.c
_START = (
    select(_commits.oid, _commits.tree_oid, _commits.parent_oid, literal(1).label("number"))
    .where(_commits.repository_id == bindparam("repository"), _commits.oid == bindparam("start"))
    .cte("line", recursive=True)
)
_LINE = _START.union_all(
    select(_commits.oid, _commits.tree_oid, _commits.parent_oid, _START.c.number + 1).where(
        _commits.repository_id == bindparam("repository"),
        _commits.oid == _START.c.parent_oid,
        _START.c.number < bindparam("most"),
    )
)
_BLOCK = select(_LINE.c.oid, _LINE.c.tree_oid, _LINE.c.parent_oid).order_by(_LINE.c.number)
_STANDING = select(
    _entries.tree_oid, _entries.name, _entries.oid, _entries.sha256.is_(None).label("folder")
).where(
    _entries.repository_id == bindparam("repository"),
    _entries.tree_oid.in_(bindparam("trees", expanding=True)),
    _entries.name.in_(bindparam("names", expanding=True)),
)


@dataclass(frozen=True, slots=True)
class _Step:
    oid: str
    tree: str


def history(session: Session, repository: Repository, start: Commit) -> Iterator[Commit]:
    """Yield a commit and those before it, newest first."""
    yield start
    if start.parent_oid is None:
        return
    for block in _blocks(session, repository.id, start.parent_oid):
        oids = [step.oid for step in block]
        query = select(Commit).where(Commit.repository_id == repository.id, Commit.oid.in_(oids))
        found = {commit.oid: commit for commit in session.scalars(query)}
        yield from (found[oid] for oid in oids)


def last_changes(
    session: Session, repository: Repository, start: Commit, paths: Iterable[str]
) -> dict[str, Commit]:
    """Return for each path the newest commit, up to `start`, that changed what stands there."""
    wanted = _Wanted(session, repository.id, paths)
    newest: dict[str, str] = {}
    newer: _Step | None = None
    for older in chain(_steps(session, repository.id, start.oid, wanted), [None]):
        if newer is not None:
            changed = wanted.take_changed(newer.tree, older.tree if older else None)
            newest.update(dict.fromkeys(changed, newer.oid))
        if not wanted.paths:
            break
        newer = older
    return {path: commit_of(session, repository, oid) for path, oid in newest.items()}


def _steps(session: Session, repository_id: int, oid: str, wanted: "_Wanted") -> Iterator[_Step]:
    last: list[_Step] = []
    for block in _blocks(session, repository_id, oid):
        wanted.look_ahead([*last, *block])
        yield from block
        last = block[-1:]


def _blocks(session: Session, repository_id: int, oid: str | None) -> Iterator[list[_Step]]:
    """Yield a commit and those before it, newest first, some at a time."""
    session.flush()
    size = _FIRST_BLOCK
    while oid is not None:
        values = {"repository": repository_id, "start": oid, "most": size}
        rows = session.connection().execute(_BLOCK, values).all()
        if not rows:
            return
        yield [_Step(row.oid, row.tree_oid) for row in rows]
        oid = rows[-1].parent_oid
        size = min(2 * size, _LARGEST_BLOCK)


@dataclass
class _Node:
    """The wanted paths that share a beginning, as a tree of names."""

    path: str | None = None
    below: dict[str, "_Node"] = field(default_factory=dict)


# The id of what stands somewhere, and whether it is a folder.
_Standing = tuple[str, bool]


class _Wanted:
    """Paths that are looked for, and what stood at them in some trees."""

    def __init__(self, session: Session, repository_id: int, paths: Iterable[str]) -> None:
        self.paths = set(paths)
        self._session = session
        self._repository_id = repository_id
        self._root = _nodes(self.paths)
        self._known: dict[tuple[str, str], dict[str, _Standing]] = {}

    def look_ahead(self, steps: Sequence[_Step]) -> None:
        """Read what the roots of some trees hold, and forget all others."""
        self._known = {}
        self._read("", list(dict.fromkeys(step.tree for step in steps)), self._root)

    def take_changed(self, new: str, old: str | None) -> set[str]:
        """Take out and return the paths at which two trees differ; equal folders stay closed."""
        changed: set[str] = set()
        pairs: list[tuple[str, _Node, str | None, str | None]] = [("", self._root, new, old)]
        while pairs:
            prefix, node, *trees = pairs.pop()
            if trees[0] == trees[1] or not node.below:
                continue
            after, before = (self._standing(prefix, tree, trees, node) for tree in trees)
            for name, below in node.below.items():
                pair = after.get(name), before.get(name)
                if pair[0] != pair[1]:
                    if below.path is not None:
                        changed.add(below.path)
                    pairs.append((f"{prefix}{name}/", below, _folder(pair[0]), _folder(pair[1])))
        if changed:
            self.paths -= changed
            self._root = _nodes(self.paths)
        return changed

    def _standing(
        self, prefix: str, tree: str | None, beside: Sequence[str | None], node: _Node
    ) -> dict[str, _Standing]:
        if tree is None:
            return {}
        if (prefix, tree) not in self._known:
            missing = [t for t in beside if t is not None and (prefix, t) not in self._known]
            self._read(prefix, missing, node)
        return self._known[prefix, tree]

    def _read(self, prefix: str, trees: Sequence[str], node: _Node) -> None:
        names = list(node.below)
        at_once = max(_ROWS_AT_ONCE // max(len(names), 1), 1)
        self._known |= {(prefix, tree): {} for tree in trees}
        for start in range(0, len(trees), at_once):
            values = {
                "repository": self._repository_id,
                "trees": trees[start : start + at_once],
                "names": names,
            }
            for tree, name, oid, folder in self._session.connection().execute(_STANDING, values):
                self._known[prefix, tree][name] = (oid, bool(folder))


def _nodes(paths: Iterable[str]) -> _Node:
    root = _Node()
    for path in paths:
        node = root
        for name in path.split("/"):
            node = node.below.setdefault(name, _Node())
        node.path = path
    return root


def _folder(standing: _Standing | None) -> str | None:
    return standing[0] if standing is not None and standing[1] else None
