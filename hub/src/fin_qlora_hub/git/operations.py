"""What a commit is asked to do, and the digest by which the same request is known again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from fin_qlora_hub.stores.blobs import StagedBlob


@dataclass(frozen=True)
class AddFile:
    """Put received bytes at a path."""

    path: str
    blob: StagedBlob


@dataclass(frozen=True)
class AddStored:
    """Put bytes at a path that were uploaded to this repository before."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Delete:
    """Remove a file, or a folder with all that is in it."""

    path: str


@dataclass(frozen=True)
class Copy:
    """Put the file at `source` of some revision (the branch's own by default) at a path."""

    path: str
    source: str
    revision: str | None


Operation = AddFile | AddStored | Delete | Copy


@dataclass(frozen=True)
class Change:
    """Everything that one commit is asked to do."""

    title: str
    message: str
    operations: Sequence[Operation]
    parent: str | None = None

    @property
    def blobs(self) -> list[StagedBlob]:
        """The received contents."""
        return [o.blob for o in self.operations if isinstance(o, AddFile)]

    @property
    def stored(self) -> set[str]:
        """The SHA-256 of the contents that were uploaded before."""
        return {o.sha256 for o in self.operations if isinstance(o, AddStored)}

    def digest(self, *, author: str, branch: str) -> str:
        """Return what two requests share only if they ask for the same: a SHA-256 in hex."""
        request = {
            "author": author,
            "branch": branch,
            "title": self.title,
            "message": self.message,
            "parent": self.parent,
            "operations": list(map(_canonical, self.operations)),
        }
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _canonical(operation: Operation) -> list[str | None]:
    if isinstance(operation, AddFile):
        return ["add", operation.path, operation.blob.content.sha256]
    if isinstance(operation, AddStored):
        return ["add", operation.path, operation.sha256]
    if isinstance(operation, Delete):
        return ["delete", operation.path]
    return ["copy", operation.path, operation.source, operation.revision]
