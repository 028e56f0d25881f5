"""Gold headlines: yes-or-no questions, derived from the flag columns of the release."""

from __future__ import annotations

from .source import HubForm, Label, Licence, RawFile, RawForm, Source, SplitRule
from .task import Task

#: flag column as the release spells it -> the question that it answers
QUESTIONS = {
    "Price Direction Up": "Does the headline say that the price goes up?",
    "Price Direction Constant": "Does the headline say that the price stays the same?",
    "Price Direction Down": "Does the headline say that the price goes down?",
    "Asset Comparision": "Does the headline compare gold with another asset?",
    "Past Information": "Does the headline tell about the past?",
    "Future Information": "Does the headline tell about the future?",
}

HEADLINE = Task(
    name="headline",
    title="Commodity news headlines: what is said about the price of gold",
    labels=(
        Label(name="Yes", meaning="the headline says so", raw="1"),
        Label(name="No", meaning="the headline does not say so", raw="0"),
    ),
    instruction="{question} Please choose an answer from {{Yes/No}}.",
    fields=("question",),
    source=Source(
        forms=(
            RawForm(
                part="pool",
                format="tsv",  # whatever its name says
                shape="flags",
                files=(RawFile(path="headline/gold-dataset-sinha-khandait.csv", records=10570),),
                columns={
                    "text": "News",
                    "date": "Dates",
                    "url": "URL",
                    "sentiment": "Price Sentiment",
                },
                settings={"questions": QUESTIONS, "exclusive": tuple(QUESTIONS)[:3]},
            ),
        ),
        hub=HubForm(
            id="FinGPT/fingpt-headline",
            parts={"train": "train", "test": "test"},
            shape="pattern",
            settings={
                "pattern": r"Instruction: (?P<question>.*?\?).*?\nInput: (?P<text>.*)\nAnswer: ?"
            },
        ),
    ),
    licence=Licence(
        name="CC-BY-SA-3.0", note="by FinLoRA's table for the derived set; none in the release"
    ),
    metrics=("accuracy", "weighted_f1", "macro_f1"),
    split=SplitRule(test=0.2, stratify_by="sentiment"),
    presets={"paper": SplitRule(test=0.2, seed=42, stratify_by="sentiment")},
    homepage="FinGPT/fingpt-headline",
)

TASKS = (HEADLINE,)
