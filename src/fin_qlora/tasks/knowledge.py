"""What a model knows and can work out: XBRL terms, financial arithmetic, questions on filings."""

from __future__ import annotations

from .source import HubForm, Licence, RawFile, RawForm, Source, SplitRule
from .task import Task

_TERM = {"pattern": r"Explain this XBRL term briefly in one sentence: (?P<text>.*)\. Answer: ?"}

XBRL_TERM = Task(
    name="xbrl_term",
    title="XBRL terms explained in a sentence",
    answer="text",
    instruction="Explain this XBRL term briefly in one sentence.",
    source=Source(
        forms=(
            RawForm(
                part="train",
                shape="pattern",
                files=(
                    RawFile(
                        path="xbrl_term/finlora/xbrl_term_train.jsonl",
                        records=5856,
                        sha256="8cb2ec6decda902dac42419e04cb95c2607e6a1303524d520a0fce6bf7ffde13",
                    ),
                ),
                settings=_TERM,
            ),
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="xbrl_term/finlora/xbrl_term_test.jsonl", records=651),),
                settings=_TERM,
            ),
        ),
    ),
    licence=Licence(name="MIT"),
    metrics=("token_f1", "exact_match"),
    split=SplitRule(stratify_by=""),
)

_FORMULA = {
    "pattern": r"Use formula (?P<name>.*?) to answer the question\. .*? Formula: (?P<formula>.*?), "
    r"Explanation: (?P<explanation>.*?)\. Question:\s+\"?(?P<text>.*?)\"?\s*\. Answer: ?"
}

FINANCIAL_MATH = Task(
    name="financial_math",
    title="Financial arithmetic with a given formula",
    answer="number",
    instruction=(
        "Answer the question with the formula {name}: {formula}\n{explanation}\n"
        "Answer with a number with 2 decimal places, and nothing else."
    ),
    fields=("name", "formula", "explanation"),
    source=Source(
        forms=(
            RawForm(
                part="train",
                shape="pattern",
                files=(
                    RawFile(
                        path="financial_math/finlora/formula_train.jsonl",
                        records=800,
                        sha256="8a8dd3294ff6b12cb32db640ba574c6d6efed65f1f8ca016051a788089c502f7",
                    ),
                ),
                settings=_FORMULA,
            ),
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="financial_math/finlora/formula_test.jsonl", records=200),),
                settings=_FORMULA,
            ),
        ),
    ),
    licence=Licence(name="MIT"),
    metrics=("accuracy",),
    split=SplitRule(stratify_by=""),
)

_PAGES = {
    "pattern": r"Answer the following question.*? Question: (?P<question>.*?)\n"
    r"Document Pages Context:\n(?P<text>.*)\n\s*Answer: ?"
}

FINANCEBENCH = Task(
    name="financebench",
    title="FinanceBench: questions on pages of filings",
    answer="text",
    instruction="Answer the question very briefly from these pages, without an explanation.",
    input_template="{text}\n\nQuestion: {question}",
    fields=("question",),
    source=Source(
        forms=(
            RawForm(
                part="train",
                shape="pattern",
                files=(
                    RawFile(
                        path="financebench/finlora/financebench_train.jsonl",
                        records=86,
                        sha256="7d5af91574895a98d35c0d4354ff537d875cd9bc7bc2ec6e8520b37f1ef5d4b0",
                    ),
                ),
                columns={"filing": "url"},
                settings=_PAGES,
            ),
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="financebench/finlora/financebench_test.jsonl", records=43),),
                columns={"filing": "url"},
                settings=_PAGES,
            ),
        ),
        hub=HubForm(
            id="PatronusAI/financebench",
            parts={"pool": "train"},
            shape="evidence_pages",
            columns={"question": "question", "label": "answer", "filing": "doc_name"},
        ),
    ),
    licence=Licence(name="CC-BY-NC-4.0", noncommercial=True),
    metrics=("token_f1", "exact_match"),
    split=SplitRule(group_by=("filing",), stratify_by=""),
    homepage="PatronusAI/financebench",
)

TASKS = (XBRL_TERM, FINANCIAL_MATH, FINANCEBENCH)
