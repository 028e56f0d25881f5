"""What shapes the questions of a build; everything here is part of its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

from ..errors import UsageError
from .limits import Limits

#: Raised when the same filings would give other questions than before.
BUILDER_VERSION: Final = "xbrlqa/1"
#: Raised when a row holds other fields than before, so that no stopped build goes on with both.
ROW_VERSION: Final = 2

TaskName: TypeAlias = Literal[
    "tag",
    "value",
    "formula",
    "formula_calc",
    "context",
    "absent",
]
Mode: TypeAlias = Literal["clean", "verbatim", "inline_table", "compat"]
SplitBy: TypeAlias = Literal["company", "time", "company_time"]
SplitName: TypeAlias = Literal["train", "validation", "test"]

MODES: Final = ("clean", "verbatim", "inline_table", "compat")
SPLITS: Final[tuple[SplitName, ...]] = ("train", "validation", "test")


def as_split(text: str) -> SplitName | None:
    """Return the split of that name, None for anything else."""
    return next((split for split in SPLITS if split == text), None)


#: Questions of each task from one filing: 60 in all, 3 of them about facts that are not there.
PER_FILING: Final[Mapping[TaskName, int]] = {
    "tag": 18,
    "value": 18,
    "formula": 8,
    "formula_calc": 8,
    "context": 5,
    "absent": 3,
}


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """How questions are made from filings.

    Args:
        seed: every random choice follows from it and from the question's own id.
        facts: the facts that a segment holds at most.
        budget: the tokens, as estimated, that a segment takes at most.
        mode: how a segment is written: ``clean``, ``verbatim`` (attributes as filed),
            ``inline_table`` (the HTML table that prints the fact), or ``compat`` (the layout of the
            published benchmark, to compare with its figures and for nothing else).
        shuffle: mix the facts of a segment; otherwise they keep the order of the document.
        one_shot: put one example question with its answer into the instruction.
        hidden: ask about facts that no reader of the document sees.
        odd_units: ask about units other than currencies, shares and pure numbers.
        per_filing: the questions of each task that one filing gives at most.
        concept_share: the share of the training rows that may ask about one concept.
        concept_rows: ... but at least so many rows.
        split_by: keep companies apart, filings in time, or both.
        test_share, validation_share: the share of companies (or of filings in time).
        test_companies: CIKs that are test companies whatever the shares say.
        salt: moves companies between the splits.
    """

    seed: int = 0
    facts: int = 24
    budget: int = 3000
    mode: Mode = "clean"
    shuffle: bool = True
    one_shot: bool = False
    hidden: bool = False
    odd_units: bool = False
    per_filing: Mapping[TaskName, int] = field(default_factory=lambda: dict(PER_FILING))
    concept_share: float = 0.01
    concept_rows: int = 20
    split_by: SplitBy = "company"
    test_share: float = 0.15
    validation_share: float = 0.1
    test_companies: tuple[str, ...] = ()
    salt: str = ""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.facts < 4:
            raise UsageError(f"facts is {self.facts}; a segment needs at least 4.")
        if self.mode not in MODES:
            raise UsageError(f"The mode '{self.mode}' does not exist.", fix=f"Use one of {MODES}.")
        if self.split_by not in ("company", "time", "company_time"):
            raise UsageError(f"split_by is '{self.split_by}'.", fix="Use company, time or both.")
        unknown = sorted(set(self.per_filing) - set(PER_FILING))
        if unknown:
            raise UsageError(f"per_filing names unknown tasks {unknown}.")
        if not 0 <= self.test_share + self.validation_share < 1:
            raise UsageError("test_share and validation_share leave nothing to train on.")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return asdict(self)
