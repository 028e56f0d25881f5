"""Whether rows were read from the files that a data set's publisher gives."""

from __future__ import annotations

from collections.abc import Iterable

from ..tasks import Task


def as_published(task: Task, files: Iterable[tuple[str, str, int]]) -> bool:
    """Say that nothing is known by which files are other ones than were published.

    Args:
        files: path, SHA-256 and number of records of each. A path of which the task says nothing,
            such as that of a prepared folder, speaks against nothing.
    """
    known = [file for form in task.source.forms for file in form.files]
    return all(
        any(
            one.sha256 in ("", digest) and one.records in (None, records)
            for one in known
            if one.path == path
        )
        or path not in {one.path for one in known}
        for path, digest, records in files
    )
