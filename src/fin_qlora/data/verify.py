"""Whether the files in a folder hold what a task expects: rows, labels, digests."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from ..files import sha256_file
from ..tasks import RawForm, Task
from .forms import present, read_form
from .reading import DataFile, Reading

#: ``open``: no digest of the complete file is known here, so that nothing can be compared.
Digest = Literal["as expected", "differs", "open"]
Status = Literal["complete", "partial", "not as published", "not counted", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """One file against what was published: records here and there, and its digest."""

    path: str
    records: int
    published: int | None
    sha256: str
    digest: Digest
    status: Status


@dataclass(frozen=True, kw_only=True)
class FormCheck:
    """One raw form of a task: its files, the rows that they give, and what became of the rest.

    ``error`` is empty unless the form could not be read.
    """

    task: str
    part: str
    reference: bool
    files: list[FileCheck]
    rows: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def findings(self) -> list[str]:
        """Return in sentences what is not as published; a part of the rows is no finding."""
        found = [self.error] if self.error else []
        for file in self.files:
            if file.status == "not as published":
                why = (
                    f"has {file.records:,} records, more than the {file.published:,} published"
                    if file.published is not None and file.records > file.published
                    else "has all records but another digest than the published file"
                )
                found.append(f"{file.path} {why}.")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**asdict(self), "findings": self.findings}


def verify_form(form: RawForm, task: Task, data_dir: Path) -> FormCheck:
    """Read a form and hold it against what the task expects; an unreadable one is a finding."""
    try:
        reading = read_form(form, task, data_dir)
    except DataError as error:
        return FormCheck(
            task=task.name,
            part=form.part,
            reference=form.reference,
            files=[
                _unread(form.files[position].path, data_dir) for position in present(form, data_dir)
            ],
            error=str(error),
        )
    by_path = {file.path: file for file in form.files}
    return FormCheck(
        task=task.name,
        part=form.part,
        reference=form.reference,
        files=[_checked(file, by_path[file.path].sha256) for file in reading.files],
        rows=len(reading.rows),
        labels=_labels(reading, task),
        dropped=dict(+reading.dropped),
        changed=dict(+reading.changed),
        seen=dict(+reading.seen),
        notes=[*reading.notes, *([form.note] if form.note else [])],
    )


def _checked(file: DataFile, expected: str) -> FileCheck:
    same = file.sha256 == expected
    digest: Digest = "open" if not expected else "as expected" if same else "differs"
    status: Status = "complete"
    if file.published is None:
        status = "not counted"
    elif file.partial:
        status = "partial"
    elif file.rows > file.published or digest == "differs":
        status = "not as published"
    return FileCheck(
        path=file.path,
        records=file.rows,
        published=file.published,
        sha256=file.sha256,
        digest=digest,
        status=status,
    )


def _unread(path: str, data_dir: Path) -> FileCheck:
    return FileCheck(
        path=path,
        records=0,
        published=None,
        sha256=sha256_file(data_dir / path),
        digest="open",
        status="unreadable",
    )


def _labels(reading: Reading, task: Task) -> dict[str, int]:
    """Count labels; for free text, only how many different answers there are."""
    counts = Counter(row["label"] for row in reading.rows)
    if task.labels:
        return dict(counts.most_common())
    return {"different answers": len(counts)} if counts else {}
