"""What is wrong with a data set before a model sees it: repeats, contradictions, leaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..tasks import Split, SplitRule, Task
from .cleaning import loosened
from .forms import find_form, forms_present, read_form
from .prepared import find_prepared, read_manifest
from .reading import Row
from .splits import group_value, question_key
from .table import read_split, read_splits

#: What is trained on, and what is scored after it.
_PAIRS = {("train", "validation"), ("train", "test"), ("validation", "test")}


@dataclass(frozen=True, kw_only=True)
class PartAudit:
    """Figures of one part, each row as it was read.

    Args:
        exact_repeats, normalised_repeats, loose_repeats: rows beyond the first of a question that
            is equal to the letter; without links, case and blanks; by its words alone.
        contradictory: rows whose question also stands with another answer.
        effective: independent questions, which is what a confidence interval may count on.
        majority: the most frequent answer; always saying it scores ``majority_share``.
    """

    part: str
    rows: int
    exact_repeats: int
    normalised_repeats: int
    loose_repeats: int
    contradictory: int
    effective: int
    majority: str
    majority_share: float
    labels: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What two parts share.

    Args:
        exact, normalised: rows of ``held_out`` whose question is also in ``seen``.
        other_label: of ``normalised``, rows with another answer there.
        groups: field -> rows of ``held_out`` whose group is also in ``seen``.
    """

    seen: str
    held_out: str
    exact: int
    normalised: int
    other_label: int
    groups: dict[str, int]

    @property
    def found(self) -> bool:
        """Say whether anything is shared that must not be."""
        return bool(self.normalised or any(self.groups.values()))


@dataclass(frozen=True, kw_only=True)
class TaskAudit:
    """The audit of one task: its parts, what they share, and the terms of the data."""

    task: str
    licence: str
    noncommercial: bool
    prepared: bool
    parts: list[PartAudit] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def leaks(self) -> bool:
        """Say whether a part that is scored shares something with one that is trained on."""
        return any(overlap.found for overlap in self.overlaps)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {**asdict(self), "leaks": self.leaks}


def audit_task(
    task: Task, data_dir: Path, *, rule: SplitRule | None = None, named: bool = True
) -> TaskAudit | None:
    """Audit what a folder holds for a task, or return None when it holds nothing.

    Raw files are audited as they were published: what ``data prepare`` would leave out is still
    there. Rows that were published in one piece are also audited as the rule divides them. Files
    that are only for reference are held against the train split, and told about in a note; where
    there is no train split they are audited like the rest.

    Args:
        named: the task was asked for by name, so that ``train.parquet`` and the like, which say
            nothing about their task, are taken for its rows.
    """
    manifest = read_manifest(data_dir)
    notes: list[str] = []
    if manifest is not None:
        parts = {
            split: read_split(task, split, data_dir=data_dir).rows
            for split in manifest["splits"]
            if manifest["task"] == task.name
        }
    else:
        parts = _raw_parts(task, data_dir, rule=rule)
        references = _references(task, data_dir)
        if "train" in parts:
            notes = _notes(task, parts, references)
        else:
            parts = parts | references or (_loose_parts(task, data_dir) if named else {})
    parts = {name: rows for name, rows in parts.items() if rows}
    if not parts:
        return None
    return TaskAudit(
        task=task.name,
        licence=task.licence.name,
        noncommercial=task.licence.noncommercial,
        prepared=manifest is not None,
        parts=[audit_part(task, name, rows) for name, rows in parts.items()],
        overlaps=[
            overlap(task, seen=(seen, parts[seen]), held_out=(held_out, parts[held_out]))
            for seen in parts
            for held_out in parts
            if (_kind(seen), _kind(held_out)) in _PAIRS
        ],
        notes=notes,
    )


def audit_part(task: Task, name: str, rows: Sequence[Row]) -> PartAudit:
    """Return the figures of one part."""
    exact = {tuple(row.get(f, "") for f in task.question_fields) for row in rows}
    keys = [question_key(row, task) for row in rows]
    loose = {tuple(loosened(text) or text for text in key) for key in keys}
    answers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for key, row in zip(keys, rows, strict=True):
        answers[key].add(row["label"])
    labels = Counter(row["label"] for row in rows)
    majority, most = min(labels.items(), key=lambda item: (-item[1], item[0]))
    return PartAudit(
        part=name,
        rows=len(rows),
        exact_repeats=len(rows) - len(exact),
        normalised_repeats=len(rows) - len(set(keys)),
        loose_repeats=len(rows) - len(loose),
        contradictory=sum(len(answers[key]) > 1 for key in keys),
        effective=len({_unit(row, task) for row in rows}),
        majority=majority,
        majority_share=most / len(rows),
        labels=dict(labels.most_common()),
    )


def overlap(
    task: Task, *, seen: tuple[str, Sequence[Row]], held_out: tuple[str, Sequence[Row]]
) -> Overlap:
    """Return what a part that is scored shares with one that is trained on."""
    exact = {tuple(row.get(f, "") for f in task.question_fields) for row in seen[1]}
    answers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in seen[1]:
        answers[question_key(row, task)].add(row["label"])
    shared = [row for row in held_out[1] if question_key(row, task) in answers]
    groups = {}
    for name in task.split.group_by:
        values = {group_value(row, name) for row in seen[1]} - {""}
        groups[name] = sum(group_value(row, name) in values for row in held_out[1])
    return Overlap(
        seen=seen[0],
        held_out=held_out[0],
        exact=sum(
            tuple(row.get(f, "") for f in task.question_fields) in exact for row in held_out[1]
        ),
        normalised=len(shared),
        other_label=sum(row["label"] not in answers[question_key(row, task)] for row in shared),
        groups=groups,
    )


def _unit(row: Mapping[str, str], task: Task) -> tuple[str, ...]:
    if all(name in row for name in task.unit_fields):
        return tuple(row[name] for name in task.unit_fields)
    return question_key(row, task)


def _kind(part: str) -> str:
    return part.partition(" ")[0]


def _raw_parts(task: Task, data_dir: Path, *, rule: SplitRule | None) -> dict[str, list[Row]]:
    parts: dict[str, list[Row]] = {}
    for form in task.source.forms:
        if find_form(task, form.part, data_dir) is form:
            parts[form.part] = read_form(form, task, data_dir).rows
    if "pool" in parts:
        for split, table in read_splits(task, data_dir=data_dir, rule=rule).items():
            parts.setdefault(split, table.rows)
    return parts


def _references(task: Task, data_dir: Path) -> dict[str, list[Row]]:
    return {
        f"{form.part} {Path(form.files[0].path).name}": read_form(form, task, data_dir).rows
        for form in forms_present(task, data_dir)
        if form.reference
    }


def _notes(
    task: Task, parts: Mapping[str, list[Row]], references: Mapping[str, list[Row]]
) -> list[str]:
    found = []
    for name, rows in references.items():
        if "train" not in parts or not rows:
            continue
        shared = overlap(task, seen=("train", parts["train"]), held_out=(name, rows))
        if shared.normalised:
            found.append(
                f"{shared.normalised} of {len(rows)} rows of {name.partition(' ')[2]} are in the "
                "train split: do not score on that file what is trained on this split."
            )
    return found


def _loose_parts(task: Task, data_dir: Path) -> dict[str, list[Row]]:
    """Read ``<split>.parquet`` and the like, which somebody else prepared."""
    splits: tuple[Split, ...] = ("train", "validation", "test")
    return {
        split: read_split(task, split, data_dir=data_dir).rows
        for split in splits
        if find_prepared(data_dir, split)
    }
