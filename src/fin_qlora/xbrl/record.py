"""The record of a row: question, segment, answer, and where every part of it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from .draft import Draft
from .fact_questions import overlap
from .facts import Key
from .index import FilingIndex
from .layout import Layout, Written
from .reconcile import Known
from .settings import BUILDER_VERSION, BuildSettings
from .wording import instruction

Row = dict[str, Any]


def record(
    index: FilingIndex,
    draft: Draft,
    settings: BuildSettings,
    *,
    identifier: str,
    written: Written,
    answer: str,
    tokens: int,
    chosen: list[Known],
    needed: Set[Key],
    origin: Mapping[str, str],
) -> Row:
    """Return the record of a checked example; its split is filled in when all filings are known.

    Args:
        written: the segment.
        tokens: the tokens that it takes, as estimated.
        chosen: the facts in it.
        needed: those of them that must stay when the segment is shortened.
        origin: what a list of filings says about this one.
    """
    told = instruction(draft.task, one_shot=settings.one_shot)
    question = draft.wording.text
    text = f"{written.text}\n\nQuestion: {question}"
    return {
        "id": identifier,
        "task": draft.task,
        "split": "",
        "instruction": told,
        "messages": [
            {"role": "user", "content": f"{told}\n\n{text}"},
            {"role": "assistant", "content": answer},
        ],
        "question": question,
        "segment": written.text,
        "facts": [{"text": one.text, "keep": one.key in needed} for one in written.facts],
        "answer": answer,
        "answer_alt": list(draft.alternatives),
        "meta": _meta(index, draft, settings, written, tokens, chosen, origin),
    }


def _meta(
    index: FilingIndex,
    draft: Draft,
    settings: BuildSettings,
    written: Written,
    tokens: int,
    chosen: list[Known],
    origin: Mapping[str, str],
) -> Row:
    cover, filing, fact = index.cover, index.filing, draft.targets[0].fact
    concept, context = fact.key.concept, fact.key.context
    source = next(d for d in filing.documents if d.name == fact.document)
    text, role = draft.description
    about_one = "formula" not in draft.extra
    same = sum(one.key.concept == concept and one.key != fact.key for one in chosen)
    return {
        "cik": cover.cik,
        "company": cover.company,
        "ticker": origin.get("ticker") or cover.ticker,
        "form": origin.get("form") or cover.form,
        "accession": filing.accession or None,
        "filing": index.identity,
        "filed": origin.get("filed") or None,
        "period_end": str(cover.period.end) if cover.period.end else None,
        "fiscal_year_focus": cover.fiscal_year or None,
        "source_place": filing.place,
        "source_file": fact.document,
        "source_sha256": source.sha256,
        "fact_id": fact.fact_id or None,
        "concept": str(concept),
        "namespace": filing.namespaces[concept.prefix],
        "key_digest": fact.key.digest,
        "context_ref": fact.context_id,
        "context": {
            "entity": context.entity,
            "period": str(context.period),
            "dimensions": {str(d.axis): d.member for d in context.dimensions},
        },
        "unit": fact.key.unit,
        "decimals": fact.decimals,
        "raw_text": fact.raw,
        "scale": fact.scale,
        "sign": "-" if fact.negated else None,
        "format": fact.format or None,
        "label": text or None,
        "label_role": role or None,
        "label_source": {"name": "name", "value": None, "ratio": None, "": None}.get(
            role, "linkbase"
        ),
        "template_id": draft.wording.template,
        "n_facts": len(written.facts),
        "n_same_concept": same,
        "lexical_overlap": round(overlap(concept, text), 4) if about_one and text else None,
        "tokens_est": tokens,
        "tokenizer": Layout(settings.mode).estimator,
        "mode": settings.mode,
        "builder_version": BUILDER_VERSION,
        "seed": settings.seed,
        **draft.extra,
    }
