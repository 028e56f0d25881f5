"""A repository as a bundle describes it: commits, folders, branches and tags, without contents."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from fin_qlora_hub.access.gating import Gate
from fin_qlora_hub.access.names import check_path, collision_key
from fin_qlora_hub.care.bundles import Sha256, Strict
from fin_qlora_hub.gitobjects import TreeItem, commit_id, lfs_pointer, object_id, tree_id
from fin_qlora_hub.repositories.repository import Kind
from fin_qlora_hub.text import Text

EMPTY_TREE = tree_id(())
Oid = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]


class DescribedCommit(Strict):
    """A commit; `email` is None where the id cannot be made from what is known of its author."""

    oid: Oid
    tree: Oid
    parent: Oid | None
    author: Text
    email: Text | None
    title: Text
    message: Text
    created_at: Annotated[int, Field(ge=0, lt=2**40)]

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return datetime.fromtimestamp(self.created_at, UTC)

    @model_validator(mode="after")
    def _has_its_id(self) -> "DescribedCommit":
        if self.email is not None and self.computed_oid(self.email) != self.oid:
            raise ValueError(f"the commit {self.oid} is not what its id says")
        return self

    def computed_oid(self, email: str) -> str:
        """Return the id that git would give to this commit."""
        return commit_id(
            tree=self.tree,
            parents=[] if self.parent is None else [self.parent],
            author=f"{self.author} <{email}>",
            when=self.moment,
            message=f"{self.title}\n\n{self.message}".rstrip("\n"),
        )


class DescribedEntry(Strict):
    """A file or, without `sha256`, a folder; `git_sha1` is None for what only a pointer names."""

    name: Text
    oid: Oid
    sha256: Sha256 | None = None
    git_sha1: Oid | None = None
    size: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    large: bool | None = None

    @model_validator(mode="after")
    def _is_a_file_or_a_folder(self) -> "DescribedEntry":
        if "/" in self.name or check_path(self.name) != self.name:
            raise ValueError(f"{self.name!r} is not in the form in which names are kept")
        if self.sha256 is None:
            if (self.git_sha1, self.size, self.large) != (None, None, None):
                raise ValueError(f"the folder {self.name!r} has what only files have")
            return self
        if self.size is None or self.large is None:
            raise ValueError(f"the file {self.name!r} has no size")
        pointer = object_id("blob", lfs_pointer(self.sha256, self.size))
        if self.oid != (pointer if self.large else self.git_sha1):
            raise ValueError(f"the file {self.name!r} is not what its id says")
        return self


class DescribedFolder(Strict):
    """A folder and what it holds."""

    oid: Oid
    entries: list[DescribedEntry]

    @model_validator(mode="after")
    def _has_its_id(self) -> "DescribedFolder":
        items = [TreeItem(e.name, e.oid, e.sha256 is None) for e in self.entries]
        if tree_id(items) != self.oid:
            raise ValueError(f"the folder {self.oid} is not what its id says")
        if len({collision_key(item.name) for item in items}) != len(items):
            raise ValueError(f"names in the folder {self.oid} differ only in case")
        return self


class DescribedReference(Strict):
    """A branch or a tag by its full name."""

    name: Annotated[Text, StringConstraints(max_length=300)]
    oid: Oid
    message: Text | None
    created_at: Annotated[int, Field(ge=0, lt=2**40)]


class DescribedRepository(Strict):
    """Everything of a repository but its contents, its discussions and who may do what.

    Commits stand in order, each after the one before it.
    """

    kind: Kind
    namespace: Text
    name: Text
    gated: Gate | None
    commits: Annotated[list[DescribedCommit], Field(min_length=1)]
    folders: list[DescribedFolder]
    references: Annotated[list[DescribedReference], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_whole(self) -> "DescribedRepository":
        folders = {folder.oid for folder in self.folders} | {EMPTY_TREE}
        needed = {c.tree for c in self.commits} | {
            entry.oid for entry in self.entries() if entry.sha256 is None
        }
        if missing := needed - folders:
            raise ValueError(f"the folder {min(missing)} is missing")
        seen: set[str] = set()
        for commit in self.commits:
            if commit.parent is not None and commit.parent not in seen:
                raise ValueError(f"the commit {commit.oid} follows one that is missing")
            seen.add(commit.oid)
        if any(reference.oid not in seen for reference in self.references):
            raise ValueError("a branch or tag names a commit that is missing")
        return self

    def entries(self) -> Iterable[DescribedEntry]:
        """Yield everything that stands in any folder."""
        for folder in self.folders:
            yield from folder.entries

    def files(self) -> dict[str, DescribedEntry]:
        """Return an entry for each content, by its SHA-256."""
        return {entry.sha256: entry for entry in self.entries() if entry.sha256 is not None}
