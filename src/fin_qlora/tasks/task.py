"""The Task: one frozen object that says everything about a task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import DataError, UnknownLabelError, UnknownNameError, UsageError
from ..prompts import Form, PromptContract
from ..prompts.layout import Shot
from .answers import FormulaError, Score
from .grammar import ANSWERS, Answer
from .scoring import SCORERS
from .source import Label, Licence, Option, Source, Split, SplitRule

__all__ = ["Answer", "Label", "Licence", "Metric", "Source", "Split", "Task"]

Metric = Literal["accuracy", "weighted_f1", "macro_f1", "micro_f1", "token_f1", "exact_match"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: trainer, evaluator, adapter and card read it, none knows its name.

    Args:
        labels: the answers to choose from; empty where the answer is free text.
        answer: the grammar that an answer must keep to; ``label`` is one of ``labels``.
        fields: what the prompt reads besides ``text``, such as the entity asked about.
        options_by: fields whose hash orders the labels in the row's ``options``, so that no answer
            is always named first; empty where the prompt names no options by row.
        unit: fields that make one independent question; repeats of a unit do not count twice in
            the effective number of rows. Empty means the text and the prompt's fields.
        view_of: the task whose rows these are, seen with other labels.
        presets: named split rules, such as the sizes of the paper.
    """

    name: str
    title: str
    labels: tuple[Label, ...] = ()
    answer: Answer = "label"
    instruction: str
    input_template: str = "{text}"
    source: Source
    licence: Licence
    fields: tuple[str, ...] = ()
    options_by: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ("accuracy", "weighted_f1")
    split: SplitRule = field(default_factory=SplitRule)
    presets: Mapping[str, SplitRule] = field(default_factory=dict)
    options: tuple[Option, ...] = ()
    view_of: str = ""
    homepage: str = ""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the labels as words, in their fixed order; empty for free text."""
        return tuple(label.name for label in self.labels)

    @property
    def synthetic(self) -> bool:
        """Say whether the rows are made by a generator rather than collected."""
        return bool(self.source.generator)

    @property
    def question_fields(self) -> tuple[str, ...]:
        """Return the fields that make two rows the same question when they are equal."""
        return ("text", *self.fields)

    @property
    def unit_fields(self) -> tuple[str, ...]:
        """Return the fields that make one independent question."""
        return self.unit or self.question_fields

    def label_from_raw(self, raw: str, *, place: str) -> str:
        """Return the answer for a raw value: a label as a word, or free text as it stands.

        Raises:
            UnknownLabelError: the value is no answer of this task; ``place`` (file and row) is
                named.
        """
        value = raw.strip()
        if self.answer != "label":
            if value:
                return value
            raise UnknownLabelError(f"{place} has no answer.", fix="Take the row out.")
        for label in self.labels:
            if value in label.spellings:
                return label.name
        accepted = ", ".join(
            f"{label.raw} ({label.name})" if label.raw else label.name for label in self.labels
        )
        raise UnknownLabelError(
            f"{place} has the label {raw!r}, which task '{self.name}' does not know.",
            fix=f"Accepted: {accepted}.",
        )

    def parse(self, text: str) -> str | None:
        """Return the answer that a model's output is, in one spelling, or None when it is none.

        Nothing is guessed: text around a label is not forgiven, two answers are none.
        """
        return ANSWERS[self.answer](text, self.label_names)

    def score(self, text: str, row: Mapping[str, Any]) -> Score:
        """Return what became of a free answer to a row, whose ``label`` is the right one.

        Raises:
            UsageError: the answers are labels; they are compared by their likelihood.
            DataError: the row's own answer cannot be read.
        """
        if self.answer == "label":
            raise UsageError(
                f"Task '{self.name}' has labels, which are not scored as free text.",
                fix="Compare its labels by their likelihood.",
            )
        try:
            return SCORERS[self.answer](text, row["label"], row)
        except (FormulaError, ZeroDivisionError) as error:
            raise DataError(
                f"The right answer {row['label'][:60]!r} of a row of task '{self.name}' cannot be "
                f"read: {error}.",
                fix="Correct the row or take it out.",
            ) from error

    def option(self, name: str) -> float:
        """Return the value of a documented parameter."""
        return next(option.value for option in self.options if option.name == name)

    def with_options(self, values: Mapping[str, str | float]) -> Task:
        """Return the task with other values for its parameters.

        Raises:
            UnknownNameError: no such parameter; the nearest name is offered.
            UsageError: the value is not a number, or none of the choices.
        """
        known = {option.name: option for option in self.options}
        for name, text in values.items():
            if name not in known:
                raise UnknownNameError(f"option of task '{self.name}'", name, known)
            try:
                value = float(text)
            except ValueError:
                raise UsageError(f"Option '{name}' is '{text}', which is no number.") from None
            choices = known[name].choices
            if choices and value not in choices:
                raise UsageError(
                    f"Option '{name}' is {value:g}.",
                    fix=f"Choose one of {', '.join(f'{choice:g}' for choice in choices)}.",
                )
            known[name] = dataclasses.replace(known[name], value=value)
        return dataclasses.replace(self, options=tuple(known.values()))

    def split_rule(self, preset: str = "") -> SplitRule:
        """Return the rule of that name, or the task's own. Raises UnknownNameError."""
        if not preset:
            return self.split
        if preset not in self.presets:
            raise UnknownNameError(f"split preset of task '{self.name}'", preset, self.presets)
        return self.presets[preset]

    def contract(
        self,
        form: Form = "plain",
        *,
        shots: tuple[Shot, ...] = (),
        shorten_to: int | None = None,
    ) -> PromptContract:
        """Return the prompt contract of this task in the given layout.

        Args:
            shots: worked examples that every prompt begins with; drawn from train only.
            shorten_to: tokens that a row may have; a longer one loses the middle of its text.
        """
        return PromptContract(
            form=form,
            instruction=self.instruction,
            input_template=self.input_template,
            labels=self.label_names,
            grammar=self.answer,
            shots=shots,
            shorten_to=shorten_to,
        )
