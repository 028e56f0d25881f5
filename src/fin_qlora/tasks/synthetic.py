"""The demo's tasks, whose rows are made up."""

from __future__ import annotations

from .source import Label, Licence, Source
from .task import Task

SYNTHETIC_SENTIMENT = Task(
    name="synthetic_sentiment",
    title="Sentiment of made-up company news (synthetic)",
    labels=(
        Label(name="negative", meaning="bad news for the company", raw="negative"),
        Label(name="neutral", meaning="news without a direction", raw="neutral"),
        Label(name="positive", meaning="good news for the company", raw="positive"),
    ),
    instruction=(
        "What is the sentiment of this news? "
        "Please choose an answer from {{negative/neutral/positive}}."
    ),
    source=Source(generator="sentiment", rows={"train": 2400, "test": 300}),
    licence=Licence(name="Apache-2.0"),
)

SYNTHETIC_NER = Task(
    name="synthetic_ner",
    title="Entity types in made-up credit agreements (synthetic)",
    labels=(
        Label(name="person", meaning="a natural person", raw="person"),
        Label(name="organization", meaning="a company, bank or agency", raw="organization"),
        Label(name="location", meaning="a place", raw="location"),
    ),
    instruction=(
        "What is the entity type of the entity named below the sentence? "
        "Please choose an answer from {{person/organization/location}}."
    ),
    input_template="{text}\nEntity: {entity}",
    source=Source(generator="ner", rows={"train": 2400, "test": 300}),
    licence=Licence(name="Apache-2.0"),
    fields=("entity",),
)

TASKS = (SYNTHETIC_SENTIMENT, SYNTHETIC_NER)
