"""What is in a folder, in the order of paths and from any path on.

What stands before that path costs nothing, nor does what comes after the last one that is wanted.

A path is a string: `a.txt` comes before `a/b`, so a folder's own entry and what is in the folder do
not follow one another.
"""

from collections.abc import Iterator
from heapq import heappop, heappush

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from fin_qlora_hub.git.trees import Entry, FolderEntry, entry_of, find_entry, named
from fin_qlora_hub.metadata.tables import TreeEntry

_ROWS_AT_ONCE = 250
_entries = TreeEntry.__table__.c
_AFTER = (
    select(TreeEntry.__table__)
    .where(
        _entries.repository_id == bindparam("repository"),
        _entries.tree_oid == bindparam("tree"),
        _entries.name > bindparam("after"),
    )
    .order_by(_entries.name)
    .limit(_ROWS_AT_ONCE)
)


def list_below(
    session: Session,
    repository_id: int,
    oid: str,
    *,
    folder: str,
    recursive: bool,
    after: str = "",
) -> Iterator[tuple[str, Entry]] | None:
    """Yield what is in a folder, with its full path, after a path; None for no such folder.

    With `recursive` also what is in the folders that are there. Rows are read as they are needed.
    """
    root: Entry | None = FolderEntry(oid)
    if folder:
        root = find_entry(session, repository_id, oid, folder)
    if not isinstance(root, FolderEntry):
        return None
    prefix = f"{folder}/" if folder else ""
    if not after.startswith(prefix):
        if after > prefix:
            return iter(())
        after = prefix
    reader = _Reader(session, repository_id, recursive=recursive)
    return reader.below(root.oid, prefix=prefix, after=after.removeprefix(prefix))


class _Reader:
    def __init__(self, session: Session, repository_id: int, *, recursive: bool) -> None:
        self._session = session
        self._repository_id = repository_id
        self._recursive = recursive

    def below(self, oid: str, *, prefix: str, after: str) -> Iterator[tuple[str, Entry]]:
        """Yield what is in one folder; `prefix` stands before its names, `after` is without it."""
        waiting = self._half_read(oid, after) if self._recursive else []
        for name, entry in self._entries(oid, after):
            while waiting and waiting[0][0] < name:
                yield from self._opened(waiting, prefix, after)
            yield prefix + name, entry
            if self._recursive and isinstance(entry, FolderEntry):
                heappush(waiting, (f"{name}/", entry.oid))
        while waiting:
            yield from self._opened(waiting, prefix, after)

    def _opened(
        self, waiting: list[tuple[str, str]], prefix: str, after: str
    ) -> Iterator[tuple[str, Entry]]:
        folder, oid = heappop(waiting)
        rest = after.removeprefix(folder) if after.startswith(folder) else ""
        return self.below(oid, prefix=prefix + folder, after=rest)

    def _half_read(self, oid: str, after: str) -> list[tuple[str, str]]:
        """Return the folders that come before a path while something in them comes after it."""
        first = after.partition("/")[0]
        names = [first[:end] for end in range(1, len(first) + 1)]
        found = named(self._session, self._repository_id, oid, names) if names else {}
        return sorted(
            (f"{name}/", entry.oid)
            for name, entry in found.items()
            if isinstance(entry, FolderEntry)
            and (after.startswith(f"{name}/") or f"{name}/" > after)
        )

    def _entries(self, oid: str, after: str) -> Iterator[tuple[str, Entry]]:
        values = {"repository": self._repository_id, "tree": oid}
        while True:
            rows = self._session.connection().execute(_AFTER, {**values, "after": after}).all()
            yield from ((row.name, entry_of(row)) for row in rows)
            if len(rows) < _ROWS_AT_ONCE:
                return
            after = rows[-1].name
