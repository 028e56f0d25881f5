"""Tagging numbers in sentences: FiNER-139 and FNXL, one question for every number."""

from __future__ import annotations

from .answers import TAG_RULE
from .source import HubForm, Licence, RawFile, RawForm, Source, SplitRule
from .task import Task

_INSTRUCTION = (
    f"Which US GAAP tag fits the number '{{entity}}' in this sentence of a filing? {TAG_RULE}"
)

FINER = Task(
    name="finer",
    title="FiNER: the us-gaap tag of a number in a sentence",
    answer="tag",
    instruction=_INSTRUCTION,
    fields=("entity",),
    unit=("text", "entity", "place"),
    source=Source(
        forms=(
            RawForm(
                part="pool",
                shape="numbered_questions",
                files=(RawFile(path="finer/finlora/finer_test_batched.jsonl", records=501),),
                settings={"prefix": "us-gaap:"},
                note="an earlier draft; FinLoRA's later file and FiNER's own form were not seen",
            ),
        ),
        hub=HubForm(
            id="nlpaueb/finer-139",
            parts={"train": "train", "validation": "validation", "test": "test"},
            shape="tagged_tokens",
            columns={"tokens": "tokens", "tags": "ner_tags"},
            settings={"prefix": "us-gaap:"},
        ),
    ),
    licence=Licence(name="CC-BY-SA-4.0"),
    metrics=("micro_f1", "macro_f1", "accuracy"),
    split=SplitRule(stratify_by=""),
    homepage="nlpaueb/finer-139",
)

_LABELS = RawFile(
    path="fnxl/labelCount.csv",
    records=2799,
    sha256="dcbe6ef7061ccf4fff1cd1d4a0aa291abafbbfcf8369b3ee6472adf94d394062",
)

FNXL = Task(
    name="fnxl",
    title="FNXL: the us-gaap tag of a number, out of 2,799 tags",
    answer="tag",
    instruction=_INSTRUCTION,
    fields=("entity",),
    unit=("text", "entity", "place"),
    source=Source(
        forms=(
            RawForm(
                part="train",
                shape="tagged_numerals",
                files=(
                    RawFile(
                        path="fnxl/train_sample.csv",
                        records=1000,
                        sha256="cd7c2c1cca175fbdce198074506f7c789a479993d0478d62b63c66032d4d96dc",
                    ),
                    _LABELS,
                ),
            ),
            RawForm(
                part="test",
                shape="tagged_numerals",
                files=(RawFile(path="fnxl/test_sample.csv", records=988), _LABELS),
            ),
            RawForm(
                part="test",
                shape="numbered_questions",
                files=(RawFile(path="fnxl/finlora/fnxl_test_batched.jsonl", records=33),),
                settings={"prefix": "us-gaap:"},
                reference=True,
                note="an earlier draft, made from sentences of the test sample",
            ),
        ),
    ),
    licence=Licence(name="unknown", note="'Public' by FinLoRA's table; no licence was seen"),
    metrics=("micro_f1", "macro_f1", "accuracy"),
    split=SplitRule(group_by=("text",), stratify_by=""),
)

TASKS = (FINER, FNXL)
