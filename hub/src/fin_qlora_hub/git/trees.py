"""What a revision holds: files in folders, as git trees kept in the metadata."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Row, bindparam, insert, select
from sqlalchemy.orm import Session

from fin_qlora_hub.access.names import collision_key
from fin_qlora_hub.errors import IllegalPathError
from fin_qlora_hub.gitobjects import TreeItem, lfs_pointer, object_id, tree_id
from fin_qlora_hub.metadata.tables import TreeEntry
from fin_qlora_hub.stores.blobs import Content
from fin_qlora_hub.text import quoted

LARGE_FILE_BYTES = 10 * 1024 * 1024
LARGE_FILE_SUFFIXES = (".bin", ".gguf", ".parquet", ".safetensors")
_VALUES_PER_QUERY = 500
_entries = TreeEntry.__table__.c
_OF_REPOSITORY = select(TreeEntry.__table__).where(
    _entries.repository_id == bindparam("repository")
)
_ALL = _OF_REPOSITORY.where(_entries.tree_oid.in_(bindparam("trees", expanding=True)))
_SOME = _OF_REPOSITORY.where(
    _entries.tree_oid == bindparam("tree"), _entries.name.in_(bindparam("names", expanding=True))
)
_LOOK_ALIKE = "Paths {} and {} differ only in case or Unicode form: rename one."


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


def file_entry(path: str, content: Content, *, pointer: bool = False) -> FileEntry:
    """Decide how a file is presented: weights and anything over 10 MB as a large file.

    `pointer` is for what came as a large file, whatever it is called.
    """
    if pointer or content.git_sha1 is None or is_large(path, content.size):
        oid = object_id("blob", lfs_pointer(content.sha256, content.size))
        return FileEntry(oid, content, large=True)
    return FileEntry(content.git_sha1, content, large=False)


def is_large(path: str, size: int) -> bool:
    """Say whether git would keep a file of this name and size (in bytes) as a pointer."""
    return path.lower().endswith(LARGE_FILE_SUFFIXES) or size > LARGE_FILE_BYTES


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


def folders_below(
    session: Session, repository_id: int, roots: Iterable[str]
) -> dict[str, dict[str, Entry]]:
    """Return some folders and all that are in them, each once, by their ids."""
    found: dict[str, dict[str, Entry]] = {}
    level = set(roots)
    while level:
        loaded = _load(session, repository_id, level)
        found |= loaded
        level = {
            entry.oid
            for entries in loaded.values()
            for entry in entries.values()
            if isinstance(entry, FolderEntry)
        } - found.keys()
    return found


def all_files(session: Session, repository_id: int, oid: str) -> dict[str, FileEntry]:
    """Return every file under a tree by full path, in path order."""
    entries = walk(session, repository_id, oid)
    return {path: entry for path, entry in entries.items() if isinstance(entry, FileEntry)}


def find_entry(session: Session, repository_id: int, oid: str, path: str) -> Entry | None:
    """Return what stands at a path under a tree, or None."""
    return find_entries(session, repository_id, oid, [path]).get(path)


def find_entries(
    session: Session, repository_id: int, oid: str, paths: Iterable[str]
) -> dict[str, Entry]:
    """Return what stands at those of the paths that exist, in the order given.

    Each folder is asked once, for all the names that are wanted of it.
    """
    wanted = {path: path.split("/") for path in paths}
    standing: dict[str, Entry] = dict.fromkeys(wanted, FolderEntry(oid))
    for depth in range(max(map(len, wanted.values()), default=0)):
        names: defaultdict[str, set[str]] = defaultdict(set)
        for path in [path for path in standing if len(wanted[path]) > depth]:
            folder = standing[path]
            if isinstance(folder, FolderEntry):
                names[folder.oid].add(wanted[path][depth])
            else:
                del standing[path]
        below = {tree: named(session, repository_id, tree, names[tree]) for tree in names}
        for path in [path for path in standing if len(wanted[path]) > depth]:
            entry = below[standing[path].oid].get(wanted[path][depth])
            if entry is None:
                del standing[path]
            else:
                standing[path] = entry
    return standing


def named(
    session: Session, repository_id: int, oid: str, names: Collection[str]
) -> dict[str, Entry]:
    """Return those of the names that a folder holds."""
    return {
        row.name: entry_of(row)
        for part in _parts(names)
        for row in session.connection().execute(
            _SOME, {"repository": repository_id, "tree": oid, "names": part}
        )
    }


@dataclass(frozen=True)
class Tree:
    """The folders of a revision under their ids; `root` is the id of the one that holds all."""

    root: str
    folders: Mapping[str, Mapping[str, Entry]]


def build_tree(files: Mapping[str, FileEntry]) -> Tree:
    """Return the folders that hold these files.

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

    written: dict[str, Mapping[str, Entry]] = {}
    root = ""
    for path in sorted(folders, key=lambda p: p.count("/") if p else -1, reverse=True):
        entries = folders[path]
        root = tree_id(
            TreeItem(name, entry.oid, isinstance(entry, FolderEntry))
            for name, entry in entries.items()
        )
        written[root] = entries
        if path:
            parent, _, name = path.rpartition("/")
            folders[parent][name] = FolderEntry(root)
    return Tree(root, written)


def _refuse_collisions(files: Mapping[str, FileEntry], folders: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for path in files:
        other = seen.setdefault(collision_key(path), path)
        if other != path:
            raise IllegalPathError(_LOOK_ALIKE.format(quoted(other), quoted(path)))
    for path in filter(None, folders):
        if path in files:
            raise IllegalPathError(
                f"Path {quoted(path)} would be both a file and a folder: rename one."
            )
        other = seen.setdefault(collision_key(path), path)
        if other != path:
            raise IllegalPathError(_LOOK_ALIKE.format(quoted(other), quoted(path)))


def store_tree(session: Session, repository_id: int, tree: Tree) -> None:
    """Store those folders that the repository does not have yet."""
    query = select(TreeEntry.tree_oid).where(TreeEntry.repository_id == repository_id).distinct()
    known = {
        oid
        for part in _parts(tree.folders)
        for oid in session.scalars(query.where(TreeEntry.tree_oid.in_(part)))
    }
    rows = [
        {"repository_id": repository_id, "tree_oid": oid, "name": name, **_columns(entry)}
        for oid, entries in tree.folders.items()
        if oid not in known
        for name, entry in entries.items()
    ]
    if rows:
        session.execute(insert(TreeEntry), rows)


def _load(session: Session, repository_id: int, oids: Iterable[str]) -> dict[str, dict[str, Entry]]:
    loaded: dict[str, dict[str, Entry]] = {oid: {} for oid in oids}
    for part in _parts(loaded):
        values = {"repository": repository_id, "trees": part}
        for row in session.connection().execute(_ALL, values):
            loaded[row.tree_oid][row.name] = entry_of(row)
    return loaded


def _parts(values: Iterable[str]) -> Iterator[list[str]]:
    whole = list(values)
    for start in range(0, len(whole), _VALUES_PER_QUERY):
        yield whole[start : start + _VALUES_PER_QUERY]


def _columns(entry: Entry) -> dict[str, object]:
    if isinstance(entry, FolderEntry):
        content = dict.fromkeys(("sha256", "git_sha1", "size", "large"))
        return {"oid": entry.oid, **content}
    return {
        "oid": entry.oid,
        "sha256": entry.content.sha256,
        "git_sha1": entry.content.git_sha1,
        "size": entry.content.size,
        "large": entry.large,
    }


def entry_of(row: Row[*tuple[object, ...]]) -> Entry:
    """Return what a row of the table says."""
    if row.sha256 is None:
        return FolderEntry(row.oid)
    return FileEntry(row.oid, Content(row.sha256, row.git_sha1, row.size), row.large)
