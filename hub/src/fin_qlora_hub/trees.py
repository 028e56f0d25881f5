"""What a revision holds: files in folders, as git trees kept in the metadata."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from fin_qlora_hub.blobs import Content
from fin_qlora_hub.errors import IllegalPathError
from fin_qlora_hub.gitobjects import TreeItem, lfs_pointer, object_id, tree_id
from fin_qlora_hub.names import collision_key
from fin_qlora_hub.tables import Tree

LARGE_FILE_BYTES = 10 * 1024 * 1024
LARGE_FILE_SUFFIXES = (".bin", ".gguf", ".parquet", ".safetensors")
_ROWS_PER_QUERY = 500
_LOOK_ALIKE = "Paths {!r} and {!r} differ only in case or Unicode form: rename one."


@dataclass(frozen=True)
class FileEntry:
    """A file of a revision; a large one stands in the git tree as its pointer."""

    oid: str
    content: Content
    large: bool

    @property
    def pointer_size(self) -> int:
        """The size of the pointer, in bytes."""
        return len(lfs_pointer(self.content.sha256, self.content.size))


@dataclass(frozen=True)
class FolderEntry:
    """A folder of a revision, known by the id of its tree."""

    oid: str


Entry = FileEntry | FolderEntry


def file_entry(path: str, content: Content) -> FileEntry:
    """Decide how a file is presented: weights and anything over 10 MB as a large file."""
    large = path.lower().endswith(LARGE_FILE_SUFFIXES) or content.size > LARGE_FILE_BYTES
    oid = content.git_sha1
    if large:
        oid = object_id("blob", lfs_pointer(content.sha256, content.size))
    return FileEntry(oid, content, large)


def list_folder(session: Session, repository_id: int, oid: str) -> dict[str, Entry]:
    """Return the entries of one folder by name."""
    return _load(session, repository_id, [oid])[oid]


def walk(session: Session, repository_id: int, oid: str, *, below: str = "") -> dict[str, Entry]:
    """Return every file and folder under a tree by full path, in path order."""
    found: dict[str, Entry] = {}
    level = {below: oid}
    while level:
        loaded = _load(session, repository_id, set(level.values()))
        entries = {
            f"{parent}/{name}" if parent else name: entry
            for parent, tree in level.items()
            for name, entry in loaded[tree].items()
        }
        found.update(entries)
        level = {p: e.oid for p, e in entries.items() if isinstance(e, FolderEntry)}
    return dict(sorted(found.items()))


def list_below(
    session: Session, repository_id: int, oid: str, *, folder: str, recursive: bool
) -> dict[str, Entry] | None:
    """Return what is in a folder by full path, in path order; None if there is no such folder."""
    root: Entry | None = FolderEntry(oid)
    if folder:
        root = find_entry(session, repository_id, oid, folder)
    if not isinstance(root, FolderEntry):
        return None
    if recursive:
        return walk(session, repository_id, root.oid, below=folder)
    prefix = f"{folder}/" if folder else ""
    entries = list_folder(session, repository_id, root.oid)
    return {prefix + name: entry for name, entry in sorted(entries.items())}


def all_files(session: Session, repository_id: int, oid: str) -> dict[str, FileEntry]:
    """Return every file under a tree by full path, in path order."""
    entries = walk(session, repository_id, oid)
    return {path: entry for path, entry in entries.items() if isinstance(entry, FileEntry)}


def find_entry(session: Session, repository_id: int, oid: str, path: str) -> Entry | None:
    """Return what stands at a path under a tree, or None."""
    entry: Entry = FolderEntry(oid)
    for segment in path.split("/"):
        if not isinstance(entry, FolderEntry):
            return None
        below = list_folder(session, repository_id, entry.oid).get(segment)
        if below is None:
            return None
        entry = below
    return entry


def write_tree(session: Session, repository_id: int, files: Mapping[str, FileEntry]) -> str:
    """Store the folders that hold these files; return the id of the root.

    Raises IllegalPathError where a path is both file and folder, or where two paths differ only
    by case or Unicode form, since a checkout could not hold both.
    """
    folders: dict[str, dict[str, Entry]] = {"": {}}
    for path, entry in files.items():
        parent, _, name = path.rpartition("/")
        folders.setdefault(parent, {})[name] = entry
    for path in list(folders):
        for end in (index for index, character in enumerate(path) if character == "/"):
            folders.setdefault(path[:end], {})  # folders that hold only folders
    _refuse_collisions(files, folders)

    rows: dict[str, list[dict[str, object]]] = {}
    root = ""
    for path in sorted(folders, key=lambda p: p.count("/") if p else -1, reverse=True):
        entries = folders[path]
        root = tree_id(
            TreeItem(name, entry.oid, isinstance(entry, FolderEntry))
            for name, entry in entries.items()
        )
        rows[root] = [_to_json(name, entry) for name, entry in sorted(entries.items())]
        if path:
            parent, _, name = path.rpartition("/")
            folders[parent][name] = FolderEntry(root)
    _store(session, repository_id, rows)
    return root


def _refuse_collisions(files: Mapping[str, FileEntry], folders: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for path in files:
        other = seen.setdefault(collision_key(path), path)
        if other != path:
            raise IllegalPathError(_LOOK_ALIKE.format(other, path))
    for path in filter(None, folders):
        if path in files:
            raise IllegalPathError(f"Path {path!r} would be both a file and a folder: rename one.")
        other = seen.setdefault(collision_key(path), path)
        if other != path:
            raise IllegalPathError(_LOOK_ALIKE.format(other, path))


def _store(
    session: Session, repository_id: int, rows: Mapping[str, list[dict[str, object]]]
) -> None:
    known = _load(session, repository_id, rows)
    session.add_all(
        Tree(repository_id=repository_id, oid=oid, entries=entries)
        for oid, entries in rows.items()
        if oid not in known
    )
    session.flush()


def _load(session: Session, repository_id: int, oids: Iterable[str]) -> dict[str, dict[str, Entry]]:
    wanted = list(oids)
    loaded: dict[str, dict[str, Entry]] = {}
    for start in range(0, len(wanted), _ROWS_PER_QUERY):
        rows = session.execute(
            select(Tree.oid, Tree.entries).where(
                Tree.repository_id == repository_id,
                Tree.oid.in_(wanted[start : start + _ROWS_PER_QUERY]),
            )
        )
        for oid, entries in rows:
            loaded[oid] = {str(entry["name"]): _from_json(entry) for entry in entries}
    return loaded


def _to_json(name: str, entry: Entry) -> dict[str, object]:
    if isinstance(entry, FolderEntry):
        return {"name": name, "oid": entry.oid, "folder": True}
    return {
        "name": name,
        "oid": entry.oid,
        "sha256": entry.content.sha256,
        "git_sha1": entry.content.git_sha1,
        "size": entry.content.size,
        "large": entry.large,
    }


def _from_json(row: dict[str, object]) -> Entry:
    if row.get("folder"):
        return FolderEntry(str(row["oid"]))
    content = Content(str(row["sha256"]), str(row["git_sha1"]), int(str(row["size"])))
    return FileEntry(str(row["oid"]), content, bool(row["large"]))
