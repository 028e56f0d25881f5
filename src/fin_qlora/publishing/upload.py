"""Putting a set of files on the hub as one commit, or finding that they are there already."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, HubError, UsageError
from ..files import sha256_bytes, sha256_file
from .hub import endpoint, hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Content = bytes | Path

_PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
#: The hub writes it by itself into a new repository.
_OF_THE_HUB = frozenset({".gitattributes"})


@dataclass(frozen=True, kw_only=True)
class Published:
    """What lies on the hub now: the repository, the commit that holds it, and its address."""

    repo_id: str
    commit: str
    url: str

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON values."""
        return {"repo": self.repo_id, "commit": self.commit, "url": self.url}


def upload(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, Content],
    *,
    message: str,
    private: bool,
    tag: str | None = None,
) -> Published:
    """Make ``main`` of a repository hold exactly ``files``, in one commit.

    The repository is created when it is missing. Where it holds these files already, nothing is
    sent and the present commit is returned. Other files in it are deleted by the same commit.

    Args:
        files: path in the repository -> content, as bytes or as a local file.
        tag: also give the commit this name; it may exist already if it names the same commit.

    Raises:
        DataError: a file is a pickle.
        UsageError: the repository is public although a private one is asked for, or the tag
            names another commit.
        HubError: the hub is away, refuses, or failed.
    """
    pickles = [name for name in files if Path(name).suffix in _PICKLES]
    if pickles:
        raise DataError(
            f"'{pickles[0]}' is a pickle, which can run code when it is loaded.",
            fix="Save weights as safetensors and remove the file.",
        )
    with hub_errors(repo_id):
        api.create_repo(repo_id, private=private, exist_ok=True)
        info = api.model_info(repo_id, files_metadata=True)
    if private and info.private is False:
        raise UsageError(
            f"'{repo_id}' exists already and is public.",
            fix="Choose another name, or pass --public if everyone on the hub may read it.",
        )
    present = {sibling.rfilename: sibling for sibling in info.siblings or []}
    commit = info.sha
    changed = [name for name, content in files.items() if not _same(content, present.get(name))]
    stale = sorted(present.keys() - files.keys() - _OF_THE_HUB)
    if changed or stale or not commit:
        commit = _commit(api, repo_id, {n: files[n] for n in changed}, stale, message, info.sha)
    if tag:
        _tag(api, repo_id, tag, commit)
    return Published(repo_id=repo_id, commit=commit, url=f"{endpoint()}/{repo_id}")


def _commit(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, Content],
    stale: list[str],
    message: str,
    parent: str | None,
) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        *(CommitOperationAdd(name, content) for name, content in sorted(files.items())),
        *(CommitOperationDelete(name) for name in stale),
    ]
    with hub_errors(repo_id), warnings.catch_warnings():
        # the client takes our per-row results for a data set that went to the wrong place
        warnings.filterwarnings("ignore", message=".*commit a data file", category=UserWarning)
        done = api.create_commit(repo_id, operations, commit_message=message, parent_commit=parent)
    return str(done.oid)


def _tag(api: HfApi, repo_id: str, tag: str, commit: str) -> None:
    with hub_errors(repo_id):
        refs = api.list_repo_refs(repo_id)
        named = {ref.name: ref.target_commit for ref in refs.tags}.get(tag)
        if named is None:
            api.create_tag(repo_id, tag=tag, revision=commit)
    if named not in (None, commit):
        raise UsageError(
            f"The tag '{tag}' of '{repo_id}' names commit {named} already; the files are in "
            f"commit {commit}.",
            fix="Choose another tag.",
        )


def _same(content: Content, sibling: Any) -> bool:
    """Say whether the hub's copy is the same: by SHA-256 for large files, else by git's id."""
    if sibling is None:
        return False
    if sibling.lfs is not None:
        ours = sha256_file(content) if isinstance(content, Path) else sha256_bytes(content)
        return bool(sibling.lfs["sha256"] == ours)
    data = content.read_bytes() if isinstance(content, Path) else content
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
    return bool(sibling.blob_id == blob.hexdigest())


def weights_digest_on_hub(api: HfApi, repo_id: str, *, revision: str | None) -> tuple[str, str]:
    """Return (commit, digest of the weights) of a model on the hub, without downloading it.

    The digest is the one that ``models.base.weights_digest`` gives for the files themselves.
    Raises HubNotFoundError where the model or the revision is not there.
    """
    with hub_errors(repo_id, revision=revision):
        info = api.model_info(repo_id, revision=revision, files_metadata=True)
    lines = []
    for sibling in sorted(info.siblings or [], key=lambda entry: entry.rfilename):
        name = sibling.rfilename
        if name.endswith(".safetensors") and "/" not in name:
            if sibling.lfs is None:
                raise HubError(f"The hub does not tell the SHA-256 of '{repo_id}/{name}'.")
            lines.append(f"{name} {sibling.lfs['sha256']}")
    if not lines or not info.sha:
        raise DataError(f"'{repo_id}' holds no safetensors weights.", fix="Push the base again.")
    return info.sha, sha256_bytes("\n".join(lines).encode())
