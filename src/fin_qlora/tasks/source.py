"""Where the rows of a task come from, in which raw forms, and how they are split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Split = Literal["train", "validation", "test"]
#: A published part, or ``pool``: rows that were published in one piece and are split here.
Part = Literal["train", "validation", "test", "pool"]
#: How a file is cut into records; empty is told from the file's ending.
Format = Literal["", "csv", "tsv", "json", "jsonl", "parquet", "conll", "sentence@label"]


@dataclass(frozen=True, kw_only=True)
class Label:
    """One answer: the word that the model writes, what it means, and how raw data spells it.

    Args:
        raw: the value in the raw data; the word itself is always accepted.
        also: further raw values with this meaning.
    """

    name: str
    meaning: str
    raw: str = ""
    also: tuple[str, ...] = ()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return every raw value that is read as this label."""
        return tuple(value for value in (self.raw, self.name, *self.also) if value)


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The terms of the data. ``noncommercial`` data never leaves in a published adapter unasked."""

    name: str
    noncommercial: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """One published file: its path below ``--data_dir``, and what it is known to hold.

    Args:
        records: records as published (rows, sentences, entries); None where nobody has counted.
        sha256: of the complete file; empty where only a part of it, or another copy, was seen.
    """

    path: str
    records: int | None = None
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class RawForm:
    """One form in which people have the rows: files that belong together, and how to read them.

    Args:
        part: what the files hold; ``pool`` is split by the task's rule.
        shape: name of the reader in ``fin_qlora.data.sources`` that makes rows of records.
        columns: field of a row -> column or key of a record.
        settings: what the shape needs to know besides.
        reference: read by ``data verify`` and ``data audit`` only, because its rows are also in
            another form, or are not complete enough to train on; ``note`` says why.
    """

    part: Part
    files: tuple[RawFile, ...]
    format: Format = ""
    shape: str = "columns"
    columns: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    reference: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class HubForm:
    """The same rows as a data set on a hub; read through whatever HF_ENDPOINT says.

    ``revision`` is empty where nobody here has seen one: it is resolved when the data is first
    read, and written to the manifest of the split.
    """

    id: str
    parts: Mapping[Part, str]
    configuration: str = ""
    revision: str = ""
    shape: str = "columns"
    columns: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """All forms of a task's data; for one part, the first form whose files are there is read.

    Args:
        rows: split -> rows, for a generator.
        generator: name of the generator in ``fin_qlora.data.synthetic`` that makes the rows.
    """

    forms: tuple[RawForm, ...] = ()
    hub: HubForm | None = None
    rows: Mapping[Split, int] = field(default_factory=dict)
    generator: str = ""

    @property
    def files(self) -> dict[str, str]:
        """Return part -> path of the file that is looked for first."""
        found: dict[str, str] = {}
        for form in self.forms:
            if not form.reference:
                found.setdefault(form.part, form.files[0].path)
        return found


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How rows are divided. The division depends on the rows and the seed, never on their order.

    Args:
        test, validation: share of the rows; ``test`` is used where no test part was published.
        seed: another seed, another division.
        group_by: fields whose values may not occur on two sides, such as ``company``.
        stratify_by: field whose shares are kept alike on all sides; empty for none.
    """

    test: float = 0.2
    validation: float = 0.0
    seed: int = 0
    group_by: tuple[str, ...] = ("text",)
    stratify_by: str = "label"


@dataclass(frozen=True, kw_only=True)
class Option:
    """A documented parameter of how a task's rows are made, such as a threshold."""

    name: str
    value: float
    help: str
    choices: tuple[float, ...] = ()
