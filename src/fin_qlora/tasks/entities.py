"""Entity types in credit agreements, asked once for every mention."""

from __future__ import annotations

from .source import HubForm, Label, Licence, RawFile, RawForm, Source, SplitRule
from .task import Task

#: FinLoRA's wordings all quote the entity; options come in six orders.
_FINLORA = (
    r"Instruction: [^\n]*?'(?P<entity>[^\n]+)'[^\n']*\n(?:Options: [^\n]*\n)?"
    r"Input: (?P<text>.*)\nAnswer: ?"
)

NER = Task(
    name="ner",
    title="Entity types in credit agreements filed with the SEC",
    labels=(
        Label(
            name="person",
            meaning="a natural person; here also a party by its role, such as Borrower",
            raw="PER",
        ),
        Label(name="organization", meaning="a company, bank or agency", raw="ORG"),
        Label(name="location", meaning="a place", raw="LOC"),
    ),
    instruction="What is the entity type of '{entity}' in the input sentence?\nOptions: {options}",
    fields=("entity", "options"),
    options_by=("text", "entity"),
    unit=("text", "entity"),
    source=Source(
        forms=(
            RawForm(
                part="train",
                format="conll",
                shape="mentions",
                files=(
                    RawFile(
                        path="ner/FIN5.txt",
                        records=1164,
                        sha256="7f9123aabbeb7ec8cd46bd026ae765a90ddb291783516eee1a77ee833237fdfe",
                    ),
                ),
                settings={"not_asked": ("MISC",)},
            ),
            RawForm(
                part="test",
                format="conll",
                shape="mentions",
                files=(RawFile(path="ner/FIN3.txt", records=303),),
                settings={"not_asked": ("MISC",)},
            ),
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="ner/finlora/ner_test.jsonl", records=3502),),
                settings={"pattern": _FINLORA, "once_per": ("text", "entity")},
                reference=True,
                note="sentences of FIN3.txt, each mention asked in 17 wordings",
            ),
        ),
        hub=HubForm(
            id="FinGPT/fingpt-ner-cls",
            parts={"train": "train", "test": "test"},
            shape="pattern",
            settings={"pattern": _FINLORA, "once_per": ("text", "entity")},
        ),
    ),
    licence=Licence(name="CC-BY-3.0", note="the release's README; FinLoRA's table says CC BY-SA"),
    metrics=("accuracy", "weighted_f1", "macro_f1"),
    split=SplitRule(group_by=("text",)),
    homepage="FinGPT/fingpt-ner-cls",
)

TASKS = (NER,)
