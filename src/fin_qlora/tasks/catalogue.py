"""The tasks that ship with the library."""

from __future__ import annotations

from ..errors import UnknownNameError
from .task import Label, Licence, Source, Task

_SENTIMENT = "Please choose an answer from {{negative/neutral/positive}}."

TFNS = Task(
    name="tfns",
    title="Twitter financial news sentiment",
    labels=(
        Label(name="negative", meaning="bearish for the company or market", raw="0"),
        Label(name="neutral", meaning="neither, or no view", raw="2"),
        Label(name="positive", meaning="bullish for the company or market", raw="1"),
    ),
    instruction=f"What is the sentiment of this tweet? {_SENTIMENT}",
    source=Source(
        files={"train": "tfns/sent_train.csv", "test": "tfns/sent_valid.csv"},
        rows={"train": 9543, "test": 2388},
    ),
    licence=Licence(name="MIT"),
    homepage="zeroshot/twitter-financial-news-sentiment",
)

SYNTHETIC_SENTIMENT = Task(
    name="synthetic_sentiment",
    title="Sentiment of made-up company news (synthetic)",
    labels=(
        Label(name="negative", meaning="bad news for the company", raw="negative"),
        Label(name="neutral", meaning="news without a direction", raw="neutral"),
        Label(name="positive", meaning="good news for the company", raw="positive"),
    ),
    instruction=f"What is the sentiment of this news? {_SENTIMENT}",
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

_TASKS = {task.name: task for task in (TFNS, SYNTHETIC_SENTIMENT, SYNTHETIC_NER)}


def get(name: str) -> Task:
    """Return the task of that name. Raises UnknownNameError, which offers the nearest name."""
    try:
        return _TASKS[name]
    except KeyError:
        raise UnknownNameError("task", name, _TASKS) from None


def names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(_TASKS)
