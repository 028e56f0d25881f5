"""Sentiment of sentences: Financial PhraseBank, FiQA, Twitter news, news labelled by a model."""

from __future__ import annotations

from .source import HubForm, Label, Licence, Option, RawFile, RawForm, Source, SplitRule
from .task import Task

_THREE = "Please choose an answer from {{negative/neutral/positive}}."

#: FinLoRA's own files: the prompt of the paper with the sentence inside.
_FINLORA = r"Instruction: (?P<asked>.*?)\nInput: (?P<text>.*)\nAnswer: ?"


def _three(*, negative: str, neutral: str, positive: str) -> tuple[Label, ...]:
    return (
        Label(name="negative", meaning=negative, raw="negative"),
        Label(name="neutral", meaning=neutral, raw="neutral"),
        Label(name="positive", meaning=positive, raw="positive"),
    )


FPB = Task(
    name="fpb",
    title="Financial PhraseBank: sentiment of news sentences",
    labels=_three(
        negative="may lower the share price, as an investor sees it",
        neutral="says nothing about the share price",
        positive="may raise the share price, as an investor sees it",
    ),
    instruction=f"What is the sentiment of this news? {_THREE}",
    source=Source(
        forms=(
            RawForm(
                part="pool",
                format="sentence@label",
                shape="agreement",
                files=(
                    RawFile(path="fpb/Sentences_50Agree.txt", records=4846),
                    RawFile(path="fpb/Sentences_66Agree.txt", records=4217),
                    RawFile(path="fpb/Sentences_75Agree.txt", records=3453),
                    RawFile(path="fpb/Sentences_AllAgree.txt", records=2264),
                ),
                settings={"levels": (50, 66, 75, 100)},
            ),
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="fpb/finlora/fpb_test.jsonl", records=1212),),
                settings={"pattern": _FINLORA},
                reference=True,
                note="a random quarter of Sentences_50Agree.txt, so its rows are in the pool",
            ),
        ),
    ),
    licence=Licence(
        name="CC-BY-NC-SA-3.0",
        noncommercial=True,
        note="the release's License.txt; other tables say CC BY-SA 3.0",
    ),
    split=SplitRule(test=0.25),
    presets={"paper": SplitRule(test=0.25, seed=42)},
    options=(
        Option(
            name="min_agreement",
            value=50,
            help="keep sentences on which at least this share of annotators agreed, in percent",
            choices=(50, 66, 75, 100),
        ),
    ),
)

_FIQA_FILES = (
    RawFile(path="fiqa/task1_headline_ABSA_train.json", records=503),
    RawFile(path="fiqa/task1_post_ABSA_train.json", records=675),
)
_FIQA_UNSCORED = RawForm(
    part="test",
    format="json",
    shape="scored_entries",
    files=(
        RawFile(
            path="fiqa/task1_headline_ABSA_test.json",
            records=93,
            sha256="a5ab90b9c6b5768a199bb1ffd377fa809af3e1418b2df6bf3f19123f10d7eb85",
        ),
        RawFile(
            path="fiqa/task1_post_ABSA_test.json",
            records=99,
            sha256="bc734a2bf3cc6ef37a28b3e249305607f04d4085b1cce5a0e2cdcc71c69ffaa8",
        ),
    ),
    settings={"kinds": ("news", "tweet"), "unit": "target"},
    reference=True,
    note="the challenge's test files carry no scores",
)
_FIQA_HUB = HubForm(
    id="pauri32/fiqa-2018",
    parts={"pool": "train+validation+test"},
    shape="scored_records",
    columns={"text": "sentence", "target": "target", "score": "sentiment_score", "kind": "format"},
)
_FIQA_OPTIONS = (
    Option(
        name="threshold",
        value=0.1,
        help="a score below minus this is negative, from this on positive, else neutral",
    ),
)


def _fiqa(unit: str) -> Source:
    pool = RawForm(
        part="pool",
        format="json",
        shape="scored_entries",
        files=_FIQA_FILES,
        settings={"kinds": ("news", "tweet"), "unit": unit},
    )
    finlora = RawForm(
        part="test",
        shape="pattern",
        files=(RawFile(path="fiqa/finlora/fiqa_test.jsonl", records=235),),
        settings={
            "pattern": r"Instruction: What is the sentiment of this (?P<kind>news|tweet)\?.*?\n"
            r"Input: (?P<text>.*)\nAnswer: ?"
        },
        reference=True,
        note="its sentences are in the pool; its thresholds are not known and not clean",
    )
    return Source(
        forms=(pool, _FIQA_UNSCORED, *((finlora,) if unit == "sentence" else ())), hub=_FIQA_HUB
    )


FIQA_SA = Task(
    name="fiqa_sa",
    title="FiQA: sentiment of financial headlines and posts",
    labels=_three(
        negative="score below minus the threshold",
        neutral="score around zero",
        positive="score of at least the threshold",
    ),
    instruction=f"What is the sentiment of this {{kind}}? {_THREE}",
    fields=("kind",),
    unit=("text",),
    source=_fiqa("sentence"),
    licence=Licence(name="MIT", note="by FinLoRA's table; the release carries none"),
    split=SplitRule(test=0.2),
    presets={"paper": SplitRule(test=0.226, seed=42)},
    options=_FIQA_OPTIONS,
    homepage="pauri32/fiqa-2018",
)

FIQA_SA_TARGET = Task(
    name="fiqa_sa_target",
    title="FiQA: sentiment towards one company in a headline or post",
    labels=FIQA_SA.labels,
    instruction=f"What is the sentiment of this {{kind}} towards the target? {_THREE}",
    input_template="{text}\nTarget: {target}",
    fields=("kind", "target"),
    unit=("text", "target"),
    source=_fiqa("target"),
    licence=FIQA_SA.licence,
    split=FIQA_SA.split,
    options=_FIQA_OPTIONS,
    view_of="fiqa_sa",
    homepage=FIQA_SA.homepage,
)

TFNS = Task(
    name="tfns",
    title="Twitter financial news sentiment",
    labels=(
        Label(name="negative", meaning="bearish for the company or market", raw="0"),
        Label(name="neutral", meaning="neither, or no view", raw="2"),
        Label(name="positive", meaning="bullish for the company or market", raw="1"),
    ),
    instruction=f"What is the sentiment of this tweet? {_THREE}",
    source=Source(
        forms=(
            RawForm(
                part="train",
                files=(
                    RawFile(
                        path="tfns/sent_train.csv",
                        records=9543,
                        sha256="184e6322b7f0e84c3103a83d198f1be8203de8b63a857f67a2964321b71c4e8d",
                    ),
                ),
            ),
            RawForm(part="test", files=(RawFile(path="tfns/sent_valid.csv", records=2388),)),
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="tfns/finlora/tfns_test.jsonl", records=2388),),
                settings={
                    "pattern": _FINLORA,
                    "swapped": ("neutral", "positive"),
                    # of the published rows: which of the two readings a file has is told by them
                    "shares": {"negative": 0.145, "neutral": 0.656, "positive": 0.199},
                },
            ),
        ),
        hub=HubForm(
            id="zeroshot/twitter-financial-news-sentiment",
            parts={"train": "train", "test": "validation"},
        ),
    ),
    licence=Licence(name="MIT"),
    homepage="zeroshot/twitter-financial-news-sentiment",
)

_SEVEN = (
    ("strong negative", "very bad for the company's stock"),
    ("moderately negative", "bad for the company's stock"),
    ("mildly negative", "a little bad for the company's stock"),
    ("neutral", "no effect"),
    ("mildly positive", "a little good for the company's stock"),
    ("moderately positive", "good for the company's stock"),
    ("strong positive", "very good for the company's stock"),
)

NWGI = Task(
    name="nwgi",
    title="News with GPT instructions: sentiment in seven steps",
    labels=tuple(Label(name=name, meaning=meaning, raw=name) for name, meaning in _SEVEN),
    instruction=(
        "What is the sentiment of this news? Please choose an answer from "
        "{{strong negative/moderately negative/mildly negative/neutral/mildly positive/"
        "moderately positive/strong positive}}."
    ),
    source=Source(
        forms=(
            RawForm(
                part="test",
                shape="pattern",
                files=(RawFile(path="nwgi/finlora/nwgi_test.jsonl", records=4047),),
                settings={"pattern": _FINLORA},
            ),
        ),
        hub=HubForm(
            id="oliverwang15/news_with_gpt_instructions",
            parts={"train": "train", "test": "test"},
            columns={"text": "news", "label": "label"},
        ),
    ),
    licence=Licence(name="MIT", note="by FinLoRA's table; the labels were made by a model"),
    homepage="oliverwang15/news_with_gpt_instructions",
)

NWGI_THREE = Task(
    name="nwgi_three",
    title="News with GPT instructions: the seven steps seen as three classes",
    labels=(
        Label(
            name="negative",
            meaning="strong, moderately or mildly negative",
            also=("strong negative", "moderately negative", "mildly negative"),
        ),
        Label(name="neutral", meaning="neutral"),
        Label(
            name="positive",
            meaning="strong, moderately or mildly positive",
            also=("strong positive", "moderately positive", "mildly positive"),
        ),
    ),
    instruction=f"What is the sentiment of this news? {_THREE}",
    source=NWGI.source,
    licence=NWGI.licence,
    view_of="nwgi",
    homepage=NWGI.homepage,
)

TASKS = (FPB, FIQA_SA, FIQA_SA_TARGET, TFNS, NWGI, NWGI_THREE)
