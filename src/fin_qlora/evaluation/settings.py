"""What is evaluated on which rows, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..errors import UsageError
from ..prompts import Form
from ..tasks.task import Split
from .evaluation import Answers
from .overlong import OnOverlongRow


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a model is asked, and about which rows.

    Args:
        tasks: names or files; empty for all tasks of an adapter.
        data_dir: the folder that holds the files of all tasks.
        form: how a base is asked; an adapter is asked as it was trained.
        shots: worked examples that a base is shown, drawn by ``shots_seed`` from training rows
            whose text is in no row of ``split``; an adapter brings those it was trained with.
        limit: only the first rows, for a quick look.
        answers: how labels are answered; free answers are always written.
        abstain_below: also tell what comes of leaving rows unanswered whose likeliest label has
            less than this probability.
        on_overlong: rows that are longer than the model reads are an error, or wrong answers.

    Raises UsageError for a number that makes no sense, and for what is none of the choices.
    """

    tasks: tuple[str, ...] = ()
    data_dir: Path | None = None
    split: Split = "test"
    form: Form | None = None
    shots: int = 0
    shots_seed: int = 0
    limit: int | None = None
    batch_size: int = 32
    answers: Answers = "likelihood"
    abstain_below: float | None = None
    on_overlong: OnOverlongRow = "raise"

    def __post_init__(self) -> None:
        for name, least in (("shots", 0), ("limit", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} is {value}.", fix=f"Use {least} or more.")
        if self.abstain_below is not None and not 0 <= self.abstain_below <= 1:
            raise UsageError(
                f"abstain_below is {self.abstain_below}.", fix="Give a probability, 0 to 1."
            )
        for name, choices in (
            ("split", get_args(Split)),
            ("form", (None, *get_args(Form))),
            ("answers", get_args(Answers)),
            ("on_overlong", get_args(OnOverlongRow)),
        ):
            if getattr(self, name) not in choices:
                named = ", ".join(choice for choice in choices if choice)
                raise UsageError(f"{name} is {getattr(self, name)!r}.", fix=f"Use {named}.")
