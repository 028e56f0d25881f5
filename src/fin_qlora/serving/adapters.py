"""Finding the adapter that a client asks for: fetched by its commit, checked, and only then given.

Digests are compared each time, although an engine asks once for a name: a cache may have been
written to since.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import (
    HubError,
    HubNotFoundError,
    HubRefusedError,
    HubUnreachableError,
    UsageError,
)
from ..models.base import weights_digest
from ..models.repository import PATTERNS, fetch, hub_errors
from ..models.stored_lora import CONFIG
from ..offline import endpoint, quiet_environment
from .checks import (
    check_adapter,
    check_base,
    check_evidence,
    check_names,
    check_places,
    check_sizes,
)
from .policy import PREFIX, AdapterReference, ServingPolicy, is_commit

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, kw_only=True)
class ServableAdapter:
    """An adapter that may be served: where its files are, and which commit they are.

    Args:
        away: why it comes from the cache without the hub's consent, where the hub did not answer.
    """

    name: str
    commit: str
    folder: Path
    tasks: tuple[str, ...]
    away: str | None = field(default=None, compare=False)


class AdapterSource:
    """Gives the adapters of the hub that HF_ENDPOINT names, as far as a policy allows them.

    It may be asked from many threads: requests for one repository wait for each other, so that
    its files are fetched once. Files are kept in the cache of the hub's client by their commit;
    while the hub is away they are served from there.
    """

    def __init__(self, policy: ServingPolicy) -> None:
        self.policy = policy
        self._guard, self._base_guard = threading.Lock(), threading.Lock()
        self._digests: dict[str, str] = {}
        self._of_repository: weakref.WeakValueDictionary[str, threading.Lock] = (
            weakref.WeakValueDictionary()
        )

    def find(self, asked: str, *, base: str) -> ServableAdapter:
        """Return the adapter that ``asked`` names, for the served ``base`` (an id or a folder).

        Raises:
            UsageError: the policy does not allow it.
            HubError: the hub does not have it, or not for this server, or gives something else
                than was asked for; or it is away and the adapter is not in the cache.
            DataError: its evidence is missing or does not agree with it; AdapterMismatchError is
                one: another base, no plain LoRA, or an adapter that does nothing.
        """
        reference = AdapterReference.parse(asked)
        self.policy.check_reference(reference)
        with self._lock(reference.name):
            folder, commit, away = self._fetched(reference)
            record = check_evidence(folder)
            check_base(record, served=self._served(base))
            check_adapter(folder, max_rank=self.policy.max_rank)
        tasks = tuple(task["task"] for task in record["tasks"])
        return ServableAdapter(
            name=reference.name, commit=commit, folder=folder, tasks=tasks, away=away
        )

    def _lock(self, name: str) -> threading.Lock:
        with self._guard:
            return self._of_repository.setdefault(name, threading.Lock())

    def _fetched(self, reference: AdapterReference) -> tuple[Path, str, str | None]:
        """Return folder, commit, and why the hub did not say that they are right, if so.

        The hub is asked first, also for what is in the cache: it may have withdrawn the right.
        """
        quiet_environment()
        if Path(reference.name).is_dir():
            raise UsageError(
                f"'{reference.name}' is also a folder here, which is not what was asked for.",
                fix="Start the server in another directory.",
            )
        offered = away = None
        try:
            offered = self._offered(reference)
        except (HubRefusedError, HubNotFoundError):
            raise
        except HubError as error:
            away = str(error)
        if offered is None:
            folder, commit = _kept(reference)
        else:
            folder, found = fetch(reference.name, revision=reference.revision, needs=CONFIG)
            if found != offered:
                raise HubError(
                    f"'{reference}' was commit {offered} and is {found} now.", fix="Ask again."
                )
            commit = offered
        files = [path for path in folder.rglob("*") if path.is_file()]
        check_places(folder)
        check_names(path.name for path in files)
        check_sizes(
            {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
            most=self.policy.max_megabytes * 2**20,
        )
        return folder, commit, away

    def _offered(self, reference: AdapterReference) -> str:
        """Return the commit that the hub would give, after a look at what is in it."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=_hub())
        with hub_errors(reference.name, revision=reference.revision):
            info = api.model_info(reference.name, revision=reference.revision, files_metadata=True)
        if info.id != reference.name:
            raise UsageError(
                f"'{reference.name}' is called '{info.id}' on the hub.", fix="Ask for that."
            )
        commit = info.sha
        if (
            commit is None
            or not is_commit(commit)
            or (reference.pinned and commit != reference.revision)
        ):
            raise HubRefusedError(f"The hub gives {commit!r} for '{reference}'.")
        sizes = {file.rfilename: file.size for file in info.siblings or []}
        check_names(sizes)
        fetched = {
            name: size
            for name, size in sizes.items()
            if any(fnmatch(name, pattern) for pattern in PATTERNS)
        }
        check_sizes(fetched, most=self.policy.max_megabytes * 2**20)
        with hub_errors(reference.name, revision=commit):
            published = _published(api, reference.name, commit)
        if not published:
            raise UsageError(
                f"Commit {commit} is on no branch or tag of '{reference.name}': a pull request is "
                "not served.",
                fix="Merge it, or tag the commit.",
            )
        return commit

    def _served(self, base: str) -> Mapping[str, str | None]:
        """Return what an adapter's base must be: the digest of a folder, or id and commit."""
        if Path(base).is_dir():
            # once: the engine, too, reads it once, and it may have hundreds of gigabytes
            with self._base_guard:
                if base not in self._digests:
                    self._digests[base] = weights_digest(Path(base))
            return {"digest": self._digests[base]}
        if self.policy.base_revision is None:
            raise UsageError(
                f"It is not said which commit of '{base}' is served.",
                fix=f"Set {PREFIX}BASE_REVISION to what the engine's --revision has.",
            )
        return {"id": base, "revision": self.policy.base_revision}


def _kept(reference: AdapterReference) -> tuple[Path, str]:
    """Return folder and commit from the cache; a hub that answers in part gives nothing new."""
    from huggingface_hub import snapshot_download

    with hub_errors(reference.name, revision=reference.revision):
        folder = snapshot_download(
            reference.name,
            revision=reference.revision,
            allow_patterns=PATTERNS,
            local_files_only=True,
        )
    return Path(folder), Path(folder).name


def _published(api: HfApi, name: str, commit: str) -> bool:
    """Say whether somebody who may write to the repository has put a commit on a branch or tag."""
    named = api.list_repo_refs(name)
    if any(one.target_commit == commit for one in (*named.branches, *named.tags)):
        return True
    return any(
        one.commit_id == commit
        for branch in named.branches
        for one in api.list_repo_commits(name, revision=branch.name)
    )


def _hub() -> str:
    address = endpoint()
    if address is None:
        raise HubUnreachableError("No hub is named.", fix="Set HF_ENDPOINT to your hub's address.")
    return address
