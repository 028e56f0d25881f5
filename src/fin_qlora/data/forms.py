"""Reading one raw form of a task: records become rows by stated rules, each counted."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import MissingFileError
from ..files import sha256_file
from ..tasks import HubForm, RawFile, RawForm, Task
from .cleaning import cleaned, count_oddities
from .parallel import in_parallel
from .reading import EMPTY, NO_ANSWER, DataFile, Reading, Records, Row
from .sources import SHAPES
from .sources.records import records

if TYPE_CHECKING:
    from ..tasks.source import Part

#: Grammars whose answers are checked: a row that keeps to another one belongs to another task.
_CHECKED: Final = ("tag", "number", "formula", "calculation", "list")

#: What pandas writes for an empty cell. No label is called so, and no answer is.
_EMPTY_CELL: Final = "nan"

#: Rows that one worker takes at a time; fewer are not worth another process.
_CHUNK = 100_000


def present(form: RawForm, data_dir: Path) -> list[int]:
    """Return the positions of the form's files that are in the folder."""
    return [
        position for position, file in enumerate(form.files) if (data_dir / file.path).is_file()
    ]


def find_form(task: Task, part: Part, data_dir: Path) -> RawForm | None:
    """Return the first form of a part whose first file is there, references left out."""
    for form in task.source.forms:
        if form.part == part and not form.reference and 0 in present(form, data_dir):
            return form
    return None


def read_form(form: RawForm, task: Task, data_dir: Path) -> Reading:
    """Read the files of a form that are there.

    Raises:
        MissingFileError: its first file is not there.
        DataError and its kinds: the file and the row are named.
    """
    positions = present(form, data_dir)
    if 0 not in positions:
        raise MissingFileError(f"'{data_dir / form.files[0].path}' is not there.")
    files = []
    for position in positions:
        file = form.files[position]
        path = data_dir / file.path
        files.append(
            Records(file=file, position=position, path=path, items=records(path, form.format))
        )
    reading = Reading()
    missing = len(form.files) - len(positions)
    if missing:
        reading.notes.append(f"{missing} of the {len(form.files)} files of this form are not here.")
    finish(SHAPES[form.shape](files, form, task, reading), task, reading)
    for records_ in files:
        published = records_.file.records
        reading.files.append(
            DataFile(
                path=records_.file.path,
                sha256=sha256_file(records_.path),
                rows=records_.count,
                partial=published is not None and records_.count < published,
                published=published,
            )
        )
    return reading


def read_hub(form: HubForm, part: Part, task: Task, *, revision: str | None = None) -> Reading:
    """Read a part of a task's data set from the hub that HF_ENDPOINT names.

    The commit that was read is in the path of the file, and goes into the split's manifest.
    """
    from .hub import hub_records

    items, identity = hub_records(form, part, revision=revision or form.revision or None)
    source = Records(file=RawFile(path=identity), position=0, path=Path(form.id), items=items)
    reading = Reading()
    finish(SHAPES[form.shape]([source], form, task, reading), task, reading)
    digest = hashlib.sha256()
    for row in reading.rows:
        digest.update(repr(sorted(row.items())).encode("utf-8"))
    reading.files.append(
        DataFile(path=identity, sha256=digest.hexdigest(), rows=source.count, partial=False)
    )
    return reading


def shuffled_options(task: Task, row: Row) -> str:
    """Return the labels in an order that depends on the row alone, so that none is always first."""
    question = "\0".join(row[name] for name in task.options_by)
    ordered = sorted(
        task.label_names,
        key=lambda label: hashlib.sha256(f"{question}\0{label}".encode()).digest(),
    )
    return ", ".join(ordered)


def finish(
    placed: Iterable[tuple[str, Row]], task: Task, reading: Reading, *, as_it_stands: bool = False
) -> None:
    """Clean and label rows, and put them into the reading; ``as_it_stands`` only checks labels.

    Many rows are spread over the cores.
    """
    chunks = list(_chunks(placed))
    work = functools.partial(_finished, task=task, as_it_stands=as_it_stands)
    for done in in_parallel(work, chunks, title=f"reading {task.name}"):
        reading.rows += done.rows
        reading.dropped += done.dropped
        reading.changed += done.changed
        reading.seen += done.seen


def _chunks(placed: Iterable[tuple[str, Row]]) -> Iterator[list[tuple[str, Row]]]:
    """Cut rows into chunks, never between two rows of one record."""
    chunk: list[tuple[str, Row]] = []
    for place, row in placed:
        if len(chunk) >= _CHUNK and place != chunk[-1][0]:
            yield chunk
            chunk = []
        chunk.append((place, row))
    if chunk:
        yield chunk


def _finished(chunk: list[tuple[str, Row]], *, task: Task, as_it_stands: bool) -> Reading:
    reading = Reading()
    shown = tuple(name for name in task.question_fields if name != "options")
    before = ""
    for place, row in chunk:
        again = place == before  # several rows of one record count its oddities once
        before = place
        if not as_it_stands:
            for name in shown:
                row[name] = cleaned(row[name], changed=Counter() if again else reading.changed)
        if not row["text"]:
            reading.dropped[EMPTY] += 1
            continue
        if task.answer != "label" and row["label"].strip() == _EMPTY_CELL:
            reading.dropped[NO_ANSWER] += 1
            continue
        if not again:
            count_oddities(row["text"], seen=reading.seen)
        label = task.label_from_raw(row["label"], place=place)
        if task.answer in _CHECKED:
            parsed = task.parse(label)
            if parsed is None:
                reading.dropped[f"the answer is no {task.answer}"] += 1
                continue
            if task.answer == "number" and parsed != label:
                reading.changed["number written plainly"] += 1
                label = parsed
            if task.answer == "tag" and not label.startswith("us-gaap:"):
                reading.seen["tag outside us-gaap"] += 1
        row["label"] = label
        if task.options_by and not as_it_stands:
            row["options"] = shuffled_options(task, row)
        reading.rows.append(row)
    return reading


def forms_present(task: Task, data_dir: Path) -> Iterator[RawForm]:
    """Yield every form of a task, references too, whose first file is in the folder."""
    for form in task.source.forms:
        if 0 in present(form, data_dir):
            yield form
