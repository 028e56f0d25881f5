"""The words of questions: several for each task, so that no model learns one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..tasks.answers import INSTRUCTIONS, ResultForm
from .settings import TaskName

_EXAMPLES: Final[Mapping[TaskName, tuple[str, str]]] = {
    "tag": (
        "Which tag does Example Company use for goodwill as of 2020-12-31?",
        "us-gaap:Goodwill",
    ),
    "value": (
        "What is the goodwill of Example Company as of 2020-12-31?",
        "2540000000",
    ),
    "formula": (
        "Write the formula for the goodwill share of Example Company as of 2020-12-31, as a "
        "percentage: goodwill divided by total assets.",
        "(us-gaap:Goodwill / us-gaap:Assets) * 100",
    ),
    "formula_calc": (
        "Calculate the goodwill share of Example Company as of 2020-12-31: goodwill divided by "
        "total assets. Give a percentage with 2 decimals.",
        "12.50",
    ),
    "context": (
        "Which context stands for the year ended 2020-12-31 of Example Company?",
        "c2",
    ),
}

VALUE_QUESTIONS: Final = (
    "What is the value of {label} that {company} reports {when}{members}?",
    "How much does {company} report for {label} {when}{members}?",
    "State the amount of {label} of {company} {when}{members}.",
    "{company} reports {label} {when}{members}. What is its value?",
)
TAG_QUESTIONS: Final = (
    "Which tag does {company} use for {label} {when}{members}?",
    "{company} reports {label} {when}{members}. Under which tag?",
    "Name the XBRL tag of {label} in the filing of {company} {when}{members}.",
    "What is the tag of the fact that {company} calls {label} {when}{members}?",
)
DEFINITION_QUESTIONS: Final = (
    'Which tag of {company} {when}{members} is defined as follows? "{label}"',
    'Name the XBRL tag that {company} uses {when}{members} for this: "{label}"',
)
REVERSE_QUESTIONS: Final = (
    "Which tag reports {amount} {when}{members} in the filing of {company}?",
    "Under which tag does {company} report {amount} {when}{members}?",
)
CONTEXT_QUESTIONS: Final = (
    "Which context stands for {company} {when}{members}?",
    "Name the id of the context for {company} {when}{members}.",
)
FORMULA_QUESTIONS: Final = (
    "Write the formula for the {title} of {company} {when}, {form}: {words}.",
    "How is the {title} of {company} {when} computed from the tags of the segment, {form}? It is "
    "{words}.",
    "Give the {title} of {company} {when} as a formula over tags, {form}. It means {words}.",
)
CALCULATION_QUESTIONS: Final = (
    "Calculate the {title} of {company} {when}: {words}. Give {form}.",
    "What is the {title} of {company} {when}, that is, {words}? Give {form}.",
    "Work out the {title} of {company} {when}. It is defined as {words}. Give {form}.",
)

_FORMULA_FORMS: Final[Mapping[ResultForm, str]] = {
    "fraction": "as a plain fraction",
    "percent": "as a percentage",
    "times": "as a plain ratio",
    "days": "in days",
    "amount": "as an amount",
}
_RESULT_FORMS: Final[Mapping[ResultForm, str]] = {
    "fraction": "a decimal fraction with {0} decimals",
    "percent": "a percentage with {0} decimals",
    "times": "a plain ratio with {0} decimals",
    "days": "days with {0} decimal",
    "amount": "a whole amount in full units",
}


@dataclass(frozen=True)
class Wording:
    """One question in words, and which template made it."""

    template: str
    text: str


def instruction(task: TaskName, *, one_shot: bool) -> str:
    """Return what a model is told to do, with one example where asked."""
    if not one_shot:
        return INSTRUCTIONS[task]
    question, answer = _EXAMPLES["value" if task == "absent" else task]
    return f"{INSTRUCTIONS[task]}\nExample question: {question}\nExample answer: {answer}"


def word(name: str, templates: tuple[str, ...], choice: int, words: Mapping[str, str]) -> Wording:
    """Fill one of the templates; ``choice`` may be any whole number."""
    number = choice % len(templates)
    filled = templates[number].format_map(dict(words))
    return Wording(f"{name}-{number + 1}", filled)


def with_members(members: str) -> str:
    """Return members as a question adds them after the period."""
    return f", where {members}" if members else ""


def form_of_formula(form: ResultForm) -> str:
    """Return how a formula's result is to come out, in words."""
    return _FORMULA_FORMS[form]


def form_of_result(form: ResultForm, decimals: int) -> str:
    """Return how a result is to be given, in words."""
    return _RESULT_FORMS[form].format(decimals)
