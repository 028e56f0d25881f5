"""Questions about one fact: its tag, its value, its context, and facts that are not there.

Each function yields drafts in an order that follows from the seed, and between them, as a string,
the reason why a fact gives no question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..tasks.answers import NOT_REPORTED
from .draft import Draft, choice
from .facts import Concept
from .index import FilingIndex, has_label
from .labels import DOCUMENTATION
from .numbers import plain_text
from .reconcile import Known
from .settings import BuildSettings, TaskName
from .wording import (
    CONTEXT_QUESTIONS,
    DEFINITION_QUESTIONS,
    REVERSE_QUESTIONS,
    TAG_QUESTIONS,
    VALUE_QUESTIONS,
    with_members,
    word,
)

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
#: One question in so many gives the value and asks for the tag.
_REVERSE_ONE_IN = 4


def value_drafts(
    index: FilingIndex, settings: BuildSettings, task: TaskName
) -> Iterator[Draft | str]:
    """Ask for values; for ``absent`` the same about facts that the segment will not hold."""
    for one in _in_seeded_order(index, settings, task):
        if index.is_ambiguous(one):
            yield "another fact would be asked for with the same words"
            continue
        label, _, _ = index.asked(one)
        absent = task == "absent"
        pick = choice(settings.seed, index.identity, task, one.key.text)
        yield Draft(
            task=task,
            key=one.key.text,
            wording=word("value", VALUE_QUESTIONS, pick, _words(index, one) | {"label": label}),
            targets=(one,),
            answer=NOT_REPORTED if absent else plain_text(one.value),
            alternatives=() if absent else tuple(plain_text(value) for value in one.others),
            description=index.label(one.key.concept),
        )


def tag_drafts(index: FilingIndex, settings: BuildSettings) -> Iterator[Draft | str]:
    """Ask for tags, by the description that gives the tag away least, or by the value."""
    for one in _in_seeded_order(index, settings, "tag"):
        concept = one.key.concept
        pick = choice(settings.seed, index.identity, "tag", one.key.text)
        described = index.descriptions(concept)
        best = min(described, key=lambda d: _preference(d, concept), default=None)
        if best is None or not has_label(best[1]) or pick % _REVERSE_ONE_IN == 0:
            if not one.value:
                yield "zero says nothing about its tag"
                continue
            amount = f"{one.value:,f} {one.key.unit}"
            words = _words(index, one) | {"amount": amount}
            wording = word("reverse", REVERSE_QUESTIONS, pick // _REVERSE_ONE_IN, words)
            best = (amount, "value")
        else:
            words = _words(index, one) | {"label": best[0]}
            defined = best[1] == DOCUMENTATION
            name, templates = (
                ("definition", DEFINITION_QUESTIONS) if defined else ("tag", TAG_QUESTIONS)
            )
            wording = word(name, templates, pick // _REVERSE_ONE_IN, words)
        yield Draft(
            task="tag",
            key=one.key.text,
            wording=wording,
            targets=(one,),
            answer=str(concept),
            description=best,
        )


def context_drafts(index: FilingIndex, settings: BuildSettings) -> Iterator[Draft | str]:
    """Ask which context stands for a period and members."""
    for one in _in_seeded_order(index, settings, "context"):
        if index.is_ambiguous_context(one.key.context):
            yield "another context would be asked for with the same words"
            continue
        pick = choice(settings.seed, index.identity, "context", one.key.text)
        yield Draft(
            task="context",
            key=one.key.text,
            wording=word("context", CONTEXT_QUESTIONS, pick, _words(index, one)),
            targets=(one,),
            answer="",
        )


def overlap(concept: Concept, description: str) -> float:
    """Return the share of the words of a concept's name that its description holds, 0 to 1."""
    words = {_stem(word) for word in _WORD.findall(concept.name)}
    said = {_stem(word) for word in re.findall(r"[A-Za-z]+|\d+", description)}
    return len(words & said) / len(words) if words else 0.0


def _preference(described: tuple[str, str], concept: Concept) -> tuple[bool, float, str]:
    text, role = described
    return role != DOCUMENTATION, overlap(concept, text), role


def _stem(word: str) -> str:
    return word.lower()[:5]


def _words(index: FilingIndex, one: Known) -> dict[str, str]:
    _, when, members = index.asked(one)
    return {"company": index.cover.company, "when": when, "members": with_members(members)}


def _in_seeded_order(
    index: FilingIndex, settings: BuildSettings, task: TaskName
) -> Iterator[Known]:
    """Yield facts in an order that no other filing changes, each concept once at first."""
    ordered = sorted(
        index.known,
        key=lambda one: choice(settings.seed, "order", index.identity, task, one.key.text),
    )
    seen: set[Concept] = set()
    again: list[Known] = []
    for one in ordered:
        if one.key.concept in seen:
            again.append(one)
        else:
            seen.add(one.key.concept)
            yield one
    yield from again
