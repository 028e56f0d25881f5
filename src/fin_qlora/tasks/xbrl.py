"""Questions about XBRL filings: tags, values, formulas and their results, contexts.

The rows are built from filings by ``fin-qlora data xbrl``. Of the published question files those
that name a filing and a context but carry no facts are read for checking only.
"""

from __future__ import annotations

from .answers import INSTRUCTIONS
from .grammar import Answer
from .source import Licence, Part, RawFile, RawForm, Source, Split, SplitRule
from .task import Metric, Task

#: FinLoRA's prompts: a preamble, an excerpt that is not well-formed, a made-up example, a question.
_EXCERPT = (
    r"\".*?XBRL file:\s*```xml\n(?P<text>.*)```\s*Example question: .*?\nExample answer: .*?\n"
    r"\s*Question: (?P<question>.*?)\s*Answer: ?"
)
_QUESTION = {"text": r"Question:\s*(.*?)\s*Answer:\s*$"}
_NO_FACTS = "names a filing and a context, but the facts are not in the file"

_METRICS: tuple[Metric, ...] = ("accuracy", "exact_match")


def _built(*kinds: str) -> tuple[RawForm, ...]:
    splits: tuple[Split, ...] = ("train", "validation", "test")
    return tuple(
        RawForm(
            part=split,
            format="jsonl",
            shape="built_questions",
            files=(RawFile(path=f"{split}.jsonl"),),
            settings={"kinds": kinds},
        )
        for split in splits
    )


def _csv(part: Part, path: str, records: int, sha256: str = "") -> RawForm:
    return RawForm(
        part=part,
        files=(RawFile(path=path, records=records, sha256=sha256),),
        shape="filing_questions",
        columns={
            "text": "input",
            "label": "output",
            "company": "company",
            "filing": "doc_path",
            "context": "context_id",
            "year": "year",
        },
        settings={"extract": _QUESTION},
        reference=True,
        note=_NO_FACTS,
    )


def _bench(category: str) -> RawForm:
    return RawForm(
        part="test",
        format="json",
        files=(RawFile(path="xbrl_bench_sample/qa_data.json", records=200),),
        shape="bench_records",
        columns={"text": "query", "label": "raw_answer", "company": "ticker", "filing": "doc_path"},
        settings={"category": category},
        reference=True,
        note=_NO_FACTS,
    )


def _finlora(path: str, records: int, sha256: str = "") -> RawForm:
    return RawForm(
        part="test",
        shape="pattern",
        files=(RawFile(path=path, records=records, sha256=sha256),),
        columns={"filing": "doc_path"},
        settings={"pattern": _EXCERPT, "cut_remnants": True},
        note="the excerpt is not well-formed, and its filings are in the published train files",
    )


def _task(
    name: str,
    title: str,
    *,
    answer: Answer,
    kinds: tuple[str, ...],
    published: tuple[RawForm, ...] = (),
) -> Task:
    return Task(
        name=name,
        title=title,
        answer=answer,
        instruction=INSTRUCTIONS[kinds[0]],
        input_template="{text}\n\nQuestion: {question}",
        fields=("question",),
        unit=("fact",),
        source=Source(forms=(*_built(*kinds), *published)),
        licence=Licence(
            name="filings are public", note="published question files: MIT by FinLoRA's table"
        ),
        metrics=_METRICS,
        split=SplitRule(group_by=("company", "filing"), stratify_by=""),
    )


XBRL_TAG = _task(
    "xbrl_tag",
    "XBRL: which tag reports this",
    answer="tag",
    kinds=("tag",),
    published=(
        _csv("test", "xbrl_tags/xbrl_tags_test.csv", 2945),
        _finlora("xbrl_tags/finlora/xbrl_xbrl_tags_test.jsonl", 108),
        _finlora("xbrl_tags/finlora/xbrl_xbrl_tags_test.2025-03-13.jsonl", 115),
        _bench("xbrl_tags"),
    ),
)

XBRL_VALUE = _task(
    "xbrl_value",
    "XBRL: what value is reported",
    answer="number",
    kinds=("value", "absent"),
    published=(
        _csv("test", "xbrl_value/value_test.csv", 2515),
        _finlora("xbrl_value/finlora/xbrl_value_test.jsonl", 102),
        _finlora(
            "xbrl_value/finlora/xbrl_value_test.2025-03-13.jsonl",
            104,
            "839f091b41a4f5992fb05f6c82aae86c3bd82c66712a2081eee2e2fd74524518",
        ),
        _bench("value"),
    ),
)

XBRL_FORMULA_CONSTRUCTION = _task(
    "xbrl_formula_construction",
    "XBRL: the formula of a ratio, in tags",
    answer="formula",
    kinds=("formula",),
    published=(
        _csv(
            "train",
            "xbrl_formula/formula_formatted_with_tags_train.csv",
            3360,
            "c5cd33f5b93c084edf20d0a90044abe8203f8b306a196e6fa5485e717a0931be",
        ),
        _csv("test", "xbrl_formula/formula_formatted_with_tags_test.csv", 835),
        _bench("formula_formatted_with_tags"),
    ),
)

XBRL_FORMULA_CALCULATION = _task(
    "xbrl_formula_calculation",
    "XBRL: the result of a ratio",
    answer="calculation",
    kinds=("formula_calc",),
    published=(
        _csv(
            "train",
            "xbrl_formula/formula_calculation_train.csv",
            3360,
            "8b38fb2b14cb1a07cb689e2e67cc01184be301db0d6c4ea6a2358e2f01ef4f47",
        ),
        _csv("test", "xbrl_formula/formula_calculation_test.csv", 835),
        _finlora(
            "xbrl_formula/finlora/xbrl_formula_test.jsonl",
            104,
            "21fc7c369bdae57565a1a996753ce7bd17cb415cf14bd315745ce7fc106c461a",
        ),
        _bench("formula_calculation"),
    ),
)

XBRL_CONTEXT = _task(
    "xbrl_context",
    "XBRL: which context a fact belongs to",
    answer="context",
    kinds=("context",),
)

TASKS = (
    XBRL_TAG,
    XBRL_VALUE,
    XBRL_FORMULA_CONSTRUCTION,
    XBRL_FORMULA_CALCULATION,
    XBRL_CONTEXT,
)
