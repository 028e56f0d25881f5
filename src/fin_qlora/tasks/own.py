"""A user's own task: a small YAML file, a Python file, or an installed package."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, get_args

from ..errors import DataError, MissingFileError, UsageError, nearest
from .grammar import Answer
from .source import (
    Format,
    HubForm,
    Label,
    Licence,
    Part,
    RawFile,
    RawForm,
    Source,
    SplitRule,
)
from .task import Metric, Task

#: Packages register under this group: ``my_task = "my_package.tasks:MY_TASK"``.
ENTRY_POINTS: Final = "fin_qlora.tasks"

_ENDINGS = (".yaml", ".yml", ".py")
_PARTS: tuple[Part, ...] = ("train", "validation", "test", "pool")


def is_file_name(name: str | Path) -> bool:
    """Say whether a task is meant by a file rather than by its name."""
    return isinstance(name, Path) or name.endswith(_ENDINGS)


def load(path: Path) -> Task:
    """Return the task that a file describes; a Python file defines ``TASK``.

    Raises:
        MissingFileError: there is no such file.
        DataError: it does not describe a task; the field and the nearest right one are named.
    """
    if not path.is_file():
        raise MissingFileError(f"There is no task file '{path}'.", fix="Check the path.")
    if path.suffix == ".py":
        return _checked(runpy.run_path(str(path)).get("TASK"), place=f"TASK in '{path}'")
    if path.suffix not in _ENDINGS:
        raise UsageError(f"'{path}' is no task file.", fix="Give a .yaml or a .py file.")
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is not YAML: {error}.") from error
    return from_dict(values, place=str(path))


@cache
def installed() -> frozenset[str]:
    """Return the names that installed packages register, without loading them."""
    return frozenset(point.name for point in entry_points(group=ENTRY_POINTS))


def load_installed(name: str) -> Task:
    """Return the task that an installed package registers under ``name``."""
    point = next(p for p in entry_points(group=ENTRY_POINTS) if p.name == name)
    task = _checked(point.load(), place=f"the entry point '{name}' of {ENTRY_POINTS}")
    if task.name != name:
        raise DataError(
            f"The entry point '{name}' gives the task '{task.name}'.",
            fix="Register it under the task's name.",
        )
    return task


def from_dict(values: Any, *, place: str) -> Task:
    """Return the task that plain values describe. Raises DataError that names the field."""
    entry = _Entry(values, place)
    entry.only(
        "name title labels answer instruction input_template fields unit files format columns hub "
        "licence metrics split"
    )
    labels = tuple(_label(each) for each in entry.items("labels"))
    answer = entry.choice("answer", get_args(Answer), "label")
    if (answer == "label") != bool(labels):
        raise entry.error("needs either labels or an answer that is not 'label'")
    if labels and len({label.name for label in labels}) != len(labels):
        raise entry.error("names a label twice")
    columns = entry.texts("columns")
    fields = entry.words("fields")
    task = Task(
        name=entry.text("name"),
        title=entry.text("title", entry.text("name")),
        labels=labels,
        answer=answer,
        instruction=entry.text("instruction"),
        input_template=entry.text("input_template", "{text}"),
        fields=fields,
        unit=entry.words("unit"),
        source=Source(forms=_forms(entry, columns), hub=_hub(entry, columns)),
        licence=_licence(entry),
        metrics=tuple(
            entry.one_of("metrics", metric, get_args(Metric)) for metric in entry.words("metrics")
        )
        or ("accuracy",),
        split=_split(entry),
    )
    task.contract()  # its own checks on templates and labels
    return task


def _checked(found: Any, *, place: str) -> Task:
    if not isinstance(found, Task):
        raise DataError(f"{place} is not a Task but {type(found).__name__}.")
    return found


def _label(entry: _Entry) -> Label:
    entry.only("name meaning raw also")
    return Label(
        name=entry.text("name"),
        meaning=entry.text("meaning"),
        raw=entry.text("raw", ""),
        also=entry.words("also"),
    )


def _forms(entry: _Entry, columns: Mapping[str, str]) -> tuple[RawForm, ...]:
    chosen = entry.choice("format", get_args(Format), "")
    files = entry.texts("files")
    for part in files:
        entry.one_of("files", part, _PARTS)
    return tuple(
        RawForm(part=part, files=(RawFile(path=files[part]),), format=chosen, columns=columns)
        for part in _PARTS
        if part in files
    )


def _hub(entry: _Entry, columns: Mapping[str, str]) -> HubForm | None:
    if not entry.has("hub"):
        return None
    hub = entry.entry("hub")
    hub.only("id parts configuration revision")
    parts = hub.texts("parts") or {"train": "train", "test": "test"}
    return HubForm(
        id=hub.text("id"),
        parts={hub.one_of("parts", part, _PARTS): name for part, name in parts.items()},
        configuration=hub.text("configuration", ""),
        revision=hub.text("revision", ""),
        columns=columns,
    )


def _licence(entry: _Entry) -> Licence:
    licence = entry.entry("licence")
    licence.only("name noncommercial note")
    return Licence(
        name=licence.text("name"),
        noncommercial=licence.truth("noncommercial"),
        note=licence.text("note", ""),
    )


def _split(entry: _Entry) -> SplitRule:
    if not entry.has("split"):
        return SplitRule()
    split = entry.entry("split")
    split.only("test validation seed group_by stratify_by")
    usual = SplitRule()
    return SplitRule(
        test=split.share("test", usual.test),
        validation=split.share("validation", usual.validation),
        seed=int(split.text("seed", "0")),
        group_by=split.words("group_by") or usual.group_by,
        stratify_by=split.text("stratify_by", usual.stratify_by),
    )


class _Entry:
    """A mapping of the file, read field by field; every complaint says where it stands."""

    def __init__(self, values: Any, place: str) -> None:
        self._place = place
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            raise DataError(f"{place} must be fields with values, not {type(values).__name__}.")
        self._values: dict[str, Any] = values

    def error(self, what: str, fix: str = "") -> DataError:
        return DataError(f"{self._place} {what}.", fix=fix)

    def only(self, names: str) -> None:
        known = names.split()
        for name in self._values:
            if name not in known:
                near = nearest(name, known)
                fix = f"Did you mean '{near}'?" if near else f"Known: {', '.join(known)}."
                raise self.error(f"has an unknown field '{name}'", fix)

    def has(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name, default)
        if value is None:
            raise self.error(f"has no '{name}'", f"Add '{name}'.")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise self.error(f"has a '{name}' that is not text", "Put it in quotes.")
        return str(value)

    def truth(self, name: str) -> bool:
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise self.error(f"has a '{name}' that is neither true nor false")
        return value

    def share(self, name: str, default: float) -> float:
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise self.error(f"has a '{name}' of {value!r}", "Give a share from 0 to below 1.")
        return float(value)

    def words(self, name: str) -> tuple[str, ...]:
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, (str, int)) for each in value):
            raise self.error(f"has a '{name}' that is not a list of words")
        return tuple(str(each) for each in value)

    def texts(self, name: str) -> dict[str, str]:
        value = self._values.get(name, {})
        inner = _Entry(value, f"'{name}' of {self._place}")
        return {key: inner.text(key) for key in value}

    def entry(self, name: str) -> _Entry:
        if name not in self._values:
            raise self.error(f"has no '{name}'", f"Add '{name}'.")
        return _Entry(self._values[name], f"'{name}' of {self._place}")

    def items(self, name: str) -> list[_Entry]:
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise self.error(f"has '{name}' that are not a list")
        return [
            _Entry(each, f"{name} {number} of {self._place}")
            for number, each in enumerate(value, start=1)
        ]

    def choice(self, name: str, choices: tuple[Any, ...], default: str) -> Any:
        return self.one_of(name, self.text(name, default), choices)

    def one_of(self, name: str, value: str, choices: tuple[Any, ...]) -> Any:
        if value not in choices:
            near = nearest(value, [c for c in choices if c])
            known = ", ".join(c for c in choices if c)
            fix = f"Did you mean '{near}'?" if near else f"Known: {known}."
            raise self.error(f"has '{value}' in '{name}'", fix)
        return value
