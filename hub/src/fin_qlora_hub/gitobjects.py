"""The ids that git itself would give to files, folders and commits."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Hash(Protocol):
    """What this module needs of a hashlib object."""

    def update(self, data: bytes, /) -> None:
        """Read more bytes."""

    def hexdigest(self) -> str:
        """Return the id."""


@dataclass(frozen=True)
class TreeItem:
    """One line of a git tree: a file, or a folder with the id of its own tree."""

    name: str
    oid: str
    is_folder: bool


def new_object(kind: str, size: int) -> Hash:
    """Return a hash that has read the header of a git object of `size` bytes."""
    return hashlib.sha1(f"{kind} {size}\0".encode(), usedforsecurity=False)


def object_id(kind: str, content: bytes) -> str:
    """Return the id of a git object: `git hash-object -t KIND`."""
    digest = new_object(kind, len(content))
    digest.update(content)
    return digest.hexdigest()


def tree_id(items: Iterable[TreeItem]) -> str:
    """Return the id of a git tree: `git mktree`."""
    return object_id("tree", b"".join(map(_line, sorted(items, key=_order))))


def _order(item: TreeItem) -> bytes:
    # git sorts a folder as if its name ended with a slash
    return item.name.encode() + (b"/" if item.is_folder else b"")


def _line(item: TreeItem) -> bytes:
    mode = b"40000" if item.is_folder else b"100644"
    return mode + b" " + item.name.encode() + b"\0" + bytes.fromhex(item.oid)


def commit_id(
    *, tree: str, parents: Iterable[str], author: str, when: datetime, message: str
) -> str:
    """Return the id of a git commit: `git commit-tree` with author and committer alike."""
    signature = f"{author} {int(when.astimezone(UTC).timestamp())} +0000"
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
    lines += [f"author {signature}", f"committer {signature}", "", message]
    return object_id("commit", ("\n".join(lines) + "\n").encode())


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Return the small file that git keeps in place of a large one."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    ).encode()
