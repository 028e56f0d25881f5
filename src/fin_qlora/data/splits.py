"""Dividing rows into train, validation and test so that nothing stands on two sides."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import DataError
from ..tasks import Split, SplitRule, Task
from .cleaning import loosened, normalised
from .reading import Row

#: Counted reasons for rows that are left out before rows are divided.
REPEATED = "the same question again"
CONTRADICTORY = "the same question with different answers"


def question_key(row: Mapping[str, str], task: Task) -> tuple[str, ...]:
    """Return what makes two rows the same question, whatever links, case and blanks they have."""
    return tuple(
        normalised(row[name]) or row[name]
        for name in task.question_fields
        if name != "options" and name in row
    )


def group_value(row: Mapping[str, str], name: str) -> str:
    """Return the value of a grouping field; texts are compared by their words alone."""
    value = row.get(name, "")
    return (loosened(value) or value) if name == "text" else value


def tidied(rows: Sequence[Row], task: Task, *, dropped: Counter[str]) -> list[Row]:
    """Return the rows with each question once, and without those that contradict each other."""
    answers: dict[tuple[str, ...], set[str]] = defaultdict(set)
    keys = [question_key(row, task) for row in rows]
    for key, row in zip(keys, rows, strict=True):
        answers[key].add(row["label"])
    kept: list[Row] = []
    seen: set[tuple[str, ...]] = set()
    for key, row in zip(keys, rows, strict=True):
        # two right explanations of one term are no contradiction
        if len(answers[key]) > 1 and task.answer != "text":
            dropped[CONTRADICTORY] += 1
        elif key in seen:
            dropped[REPEATED] += 1
        else:
            seen.add(key)
            kept.append(row)
    return kept


def divided(
    rows: Sequence[Row], rule: SplitRule, *, parts: Sequence[Split]
) -> dict[Split, list[Row]]:
    """Divide rows by a rule; the parts are those of ``train``, ``validation``, ``test`` wanted.

    Rows that share a value of a grouping field stay together. Groups are taken in the order of a
    hash of the seed and their own values, so that another row moves no other one.

    Raises DataError when a part would be empty.
    """
    shares: dict[Split, float] = {"validation": rule.validation, "test": rule.test}
    order: tuple[Split, ...] = ("test", "validation")
    wanted = [part for part in order if part in parts and shares[part] > 0]
    chosen: dict[Split, list[Row]] = {part: [] for part in ("train", *wanted)}
    side: dict[int, Split] = {}
    groups = _groups(rows, rule.group_by)
    strata: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        values = Counter(rows[index].get(rule.stratify_by, "") for index in group.rows)
        strata[min(values, key=lambda value: (-values[value], value))].append(group)
    owed: dict[Split, float] = dict.fromkeys(wanted, 0.0)
    for _, members in sorted(strata.items()):
        size = sum(len(group.rows) for group in members)
        waiting = sorted(members, key=lambda group: group.order(rule.seed))
        for part in wanted:
            # what a small stratum cannot give, the next one gives
            owed[part] += shares[part] * size
            while waiting and owed[part] >= len(waiting[-1].rows) / 2:
                group = waiting.pop()
                owed[part] -= len(group.rows)
                side.update(dict.fromkeys(group.rows, part))
    for index, row in enumerate(rows):
        chosen[side.get(index, "train")].append(row)
    empty = [part for part, held in chosen.items() if not held]
    if empty:
        raise DataError(
            f"{len(rows)} rows in {len(groups)} groups are too few: {empty[0]} would be empty.",
            fix="Change the shares, or group by another field.",
        )
    return chosen


@dataclass(frozen=True, kw_only=True)
class _Group:
    rows: tuple[int, ...]
    name: str

    def order(self, seed: int) -> bytes:
        return hashlib.sha256(f"{seed}\0{self.name}".encode()).digest()


def joined(rows: Sequence[Mapping[str, str]], fields: Iterable[str]) -> list[tuple[int, ...]]:
    """Return the indices of rows that belong together: those that share a value of any field.

    Rows are joined transitively; a row that has none of the fields stands alone.
    """
    parent = list(range(len(rows)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    names = tuple(fields)
    for index, row in enumerate(rows):
        for name in names:
            if value := group_value(row, name):
                other = first.setdefault((name, value), index)
                parent[root(index)] = root(other)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(rows)):
        members[root(index)].append(index)
    return [tuple(indices) for indices in members.values()]


def _groups(rows: Sequence[Row], fields: Iterable[str]) -> list[_Group]:
    names = tuple(fields)
    return [
        _Group(
            rows=indices,
            name=min("\0".join(group_value(rows[i], name) for name in names) for i in indices),
        )
        for indices in joined(rows, names)
    ]
