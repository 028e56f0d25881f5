"""The Task: one frozen object that says everything about a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import UnknownLabelError
from ..prompts import Form, PromptContract

Split = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class Label:
    """One answer: the word that the model writes, what it means, and how the raw data spells it."""

    name: str
    meaning: str
    raw: str


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The terms of the data. ``noncommercial`` data never leaves in a published adapter unasked."""

    name: str
    noncommercial: bool = False


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows come from: files below the data directory, or a generator of our own.

    Args:
        files: split -> path below ``--data_dir``; empty for generated data.
        rows: split -> rows as published; a file with fewer is reported as partial.
        generator: name of the generator in ``fin_qlora.data.synthetic`` that makes the rows.
    """

    files: Mapping[Split, str] = field(default_factory=dict)
    rows: Mapping[Split, int] = field(default_factory=dict)
    generator: str = ""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task: trainer, evaluator, adapter and card read it, none knows its name.

    Args:
        text_column, label_column: names of the columns in the raw files.
        fields: further columns that the prompt reads, such as the entity asked about.
    """

    name: str
    title: str
    labels: tuple[Label, ...]
    instruction: str
    input_template: str = "{text}"
    source: Source
    licence: Licence
    text_column: str = "text"
    label_column: str = "label"
    fields: tuple[str, ...] = ()
    homepage: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the labels as words, in their fixed order."""
        return tuple(label.name for label in self.labels)

    @property
    def synthetic(self) -> bool:
        """Say whether the rows are made by a generator rather than collected."""
        return bool(self.source.generator)

    def label_from_raw(self, raw: str, *, place: str) -> str:
        """Return the label word for a raw value; label words themselves are accepted too.

        Raises:
            UnknownLabelError: the value is neither; ``place`` (file and row) is named.
        """
        value = raw.strip()
        for label in self.labels:
            if value in (label.raw, label.name):
                return label.name
        accepted = ", ".join(f"{label.raw} ({label.name})" for label in self.labels)
        raise UnknownLabelError(
            f"{place} has the label {raw!r}, which task '{self.name}' does not know.",
            fix=f"Accepted: {accepted}.",
        )

    def contract(self, form: Form = "plain") -> PromptContract:
        """Return the prompt contract of this task in the given layout."""
        return PromptContract(
            form=form,
            instruction=self.instruction,
            input_template=self.input_template,
            labels=self.label_names,
        )
