"""Fetching an adapter with its evidence, and checking it before it is used."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import DataError
from ..evidence import MANIFEST, verify_files
from ..files import directory_in_place
from .hub import client, hub_errors, split_reference


def pull(
    repo_id: str,
    folder: str | Path,
    *,
    revision: str | None = None,
    force: bool = False,
    token: str | None = None,
) -> Path:
    """Download an adapter repository into ``folder`` and verify every file against its manifest.

    The files arrive beside ``folder`` and take its place only when all of them are as they were
    after training; otherwise nothing is left and an older ``folder`` stays as it is. Returns the
    folder.

    Args:
        force: replace ``folder`` also where it is neither empty nor an adapter with its manifest.

    Raises:
        UsageError: no hub is named, or ``folder`` is something else.
        DataError: the repository has no evidence, or a file is not what the manifest says.
        HubError: the hub is away, refuses, or has no such repository or revision.
    """
    name, at = split_reference(repo_id)
    target = Path(folder)
    api = client(token=token)
    with directory_in_place(target, known_by=None if force else MANIFEST) as beside:
        with hub_errors(name, revision=revision or at, place=target):
            api.snapshot_download(name, revision=revision or at, local_dir=beside)
        # the client's own book-keeping for resuming; our download is whole or not there
        shutil.rmtree(beside / ".cache", ignore_errors=True)
        if not (beside / MANIFEST).is_file():
            raise DataError(
                f"'{name}' has no {MANIFEST}, so there is nothing to check it by.",
                fix=f"For other repositories use: hf download {name} --local-dir {target}",
            )
        findings = verify_files(beside)
        if findings:
            raise DataError(
                f"'{name}' is not what was trained: {' '.join(findings)}",
                fix="Ask its owner to push it again.",
            )
    return target
