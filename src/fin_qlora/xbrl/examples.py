"""From one filing to its rows: drafts get their segment, are checked, and become records."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from .draft import Draft
from .fact_questions import context_drafts, tag_drafts, value_drafts
from .facts import Key
from .index import FilingIndex
from .layout import Layout, Written, write_segment
from .ratio_questions import ratio_drafts
from .reconcile import Known
from .record import Row, record
from .segments import arrange, choose
from .self_check import fault
from .settings import BuildSettings, TaskName
from .tables import Tables

_DRAFTS: Mapping[TaskName, Callable[[FilingIndex, BuildSettings], Iterator[Draft | str]]] = {
    "tag": tag_drafts,
    "value": lambda index, settings: value_drafts(index, settings, "value"),
    "formula": lambda index, settings: ratio_drafts(index, settings, "formula"),
    "formula_calc": lambda index, settings: ratio_drafts(index, settings, "formula_calc"),
    "context": context_drafts,
    "absent": lambda index, settings: value_drafts(index, settings, "absent"),
}

#: Drafts that are tried for one task of one filing before it is given up.
_MOST_DRAFTS = 5000
#: A printed table rarely holds all operands of a ratio; the benchmark's layout has no contexts.
_NOT_ASKED: Mapping[str, tuple[TaskName, ...]] = {
    "inline_table": ("formula", "formula_calc"),
    "compat": ("context",),
}


def examples(
    index: FilingIndex,
    settings: BuildSettings,
    *,
    origin: Mapping[str, str],
    tables: Tables | None = None,
) -> tuple[list[Row], Counter[str]]:
    """Return the rows of a filing, and how many drafts were dropped for each ``task: reason``.

    Args:
        origin: what a list of filings says about this one: ``filed``, ``ticker`` and the like.
        tables: the printed tables, for the mode that shows them.
    """
    rows: list[Row] = []
    dropped: Counter[str] = Counter()
    if settings.mode == "inline_table" and tables is None:
        return rows, Counter({"the filing has no inline document": 1})
    for task, drafts in _DRAFTS.items():
        if task in _NOT_ASKED.get(settings.mode, ()):
            continue
        wanted = settings.per_filing.get(task, 0)
        for draft in islice(drafts(index, settings), _MOST_DRAFTS) if wanted else ():
            made = (
                draft
                if isinstance(draft, str)
                else make(index, draft, settings, origin=origin, tables=tables)
            )
            if isinstance(made, str):
                dropped[f"{task}: {made}"] += 1
                continue
            rows.append(made)
            wanted -= 1
            if not wanted:
                break
    return rows, dropped


def make(
    index: FilingIndex,
    draft: Draft,
    settings: BuildSettings,
    *,
    origin: Mapping[str, str],
    tables: Tables | None = None,
) -> Row | str:
    """Give a draft its segment and return its record, or the reason why it was dropped."""
    identifier = draft.identifier(index.identity, settings)
    shaped = _shape(index, draft, settings, tables, random.Random(int(identifier, 16)))
    if isinstance(shaped, str):
        return shaped
    written, checked, chosen = shaped
    answer = draft.answer or written.context_ids.get(draft.targets[0].key.context, "")
    tokens = Layout(settings.mode).tokens(len(written.text))
    reason = fault(draft, segment=checked, answer=answer, tokens=tokens, budget=settings.budget)
    if reason:
        return reason
    shown = {one.key for one in chosen}
    swapped = tuple(formula for formula, key in draft.swaps if key in shown)
    draft = replace(draft, alternatives=(*draft.alternatives, *swapped))
    return record(
        index,
        draft,
        settings,
        identifier=identifier,
        written=written,
        answer=answer,
        tokens=tokens,
        chosen=chosen,
        needed=_needed(draft, chosen),
        origin=origin,
    )


def _needed(draft: Draft, chosen: Sequence[Known]) -> set[Key]:
    """Return the facts of a segment without which its answers would no longer be right.

    Where the fact is absent the first of the others stays: a segment without any would tell.
    """
    if draft.task == "absent":
        return {one.key for one in chosen[:1]}
    return {target.key for target in draft.targets} | {key for _, key in draft.swaps}


def _shape(
    index: FilingIndex,
    draft: Draft,
    settings: BuildSettings,
    tables: Tables | None,
    source: random.Random,
) -> tuple[Written, str, list[Known]] | str:
    """Return the segment, the text to check it by, and its facts; or why there is none."""
    formula, absent = "formula" in draft.extra, draft.task == "absent"
    if tables is not None:
        table = tables.write(draft.targets[0], without_target=absent)
        return table if isinstance(table, str) else (table[0], table[0].text, table[1])
    if settings.mode == "compat":
        contexts = {target.key.context for target in draft.targets}
        if len(contexts) > 1:
            return "needs more than one context"
        if any(target.key.concept.prefix != "us-gaap" for target in draft.targets):
            return "not a us-gaap tag"
    layout = Layout(settings.mode)
    # the fact that is taken out must not leave a segment that is shorter than others
    room = replace(settings, facts=settings.facts + 1) if absent else settings
    chosen = choose(index, draft.targets, room, layout=layout, every_target=formula)
    if absent:
        chosen = chosen[1:]
        if not chosen:
            return "no other fact to show"
    ordered = arrange(chosen, settings, source)
    mix = source if settings.shuffle else None
    written = write_segment(ordered, index.filing.namespaces, mode=settings.mode, mix=mix)
    if draft.task == "context" and len(written.context_ids) < 2:
        return "only one context to choose from"
    if settings.mode != "compat":
        return written, written.text, chosen
    clean = write_segment(ordered, index.filing.namespaces, mode="clean")
    return written, clean.text, chosen
