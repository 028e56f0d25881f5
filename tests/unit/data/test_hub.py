"""Rows from a data set on a hub; the commit that was read is written down."""

from __future__ import annotations

from types import SimpleNamespace

import datasets
import huggingface_hub
import pytest

from fin_qlora import tasks
from fin_qlora.data.prepare import prepare
from fin_qlora.data.table import read_split
from fin_qlora.errors import HubUnreachableError, MissingFileError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the hub's client: it notes what was asked for."""
    asked = []
    content = {}

    class Api:
        def __init__(self, endpoint):
            asked.append(endpoint)

        def dataset_info(self, name, revision=None):
            asked.append((name, revision))
            return SimpleNamespace(sha=COMMIT)

    def load_dataset(name, configuration, *, split, revision):
        asked.append((name, split, revision))
        return content[split]

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return SimpleNamespace(asked=asked, content=content)


def test_splits_from_the_hub_name_the_commit(hub, tmp_path):
    hub.content["train"] = [{"text": f"row {i}", "label": i % 3} for i in range(9)]
    hub.content["validation"] = [{"text": "held out", "label": 2}]
    found = prepare(tasks.get("tfns"), data_dir=None, out=tmp_path / "out", from_hub=True)
    name = "zeroshot/twitter-financial-news-sentiment"
    assert hub.asked[:3] == [
        "http://127.0.0.1:9",
        (name, None),
        (name, "train", COMMIT),
    ]
    source = found.manifest["splits"]["test"]["sources"][0]
    assert source["path"] == f"{name}@{COMMIT}/validation"
    assert found.manifest["splits"]["train"]["labels"] == {
        "negative": 3,
        "neutral": 3,
        "positive": 3,
    }


def test_fingpt_s_headline_questions(hub, tmp_path):
    def record(i, answer):
        asked = "Does it say up? Please choose an answer from {Yes/No}."
        return {"instruction": asked, "input": f"gold {i}", "output": answer}

    hub.content["train"] = [record(1, "Yes"), record(2, "No")]
    hub.content["test"] = [record(3, "No")]
    found = prepare(tasks.get("headline"), data_dir=None, out=tmp_path / "out", from_hub=True)
    assert found.manifest["splits"]["train"]["labels"] == {"Yes": 1, "No": 1}


def test_fiqa_s_records_are_divided_here(hub, tmp_path):
    hub.content["train+validation+test"] = [
        {"sentence": f"s {i}", "target": "A", "sentiment_score": s, "format": "post"}
        for i, s in enumerate([0.5, -0.5, 0.02] * 10)
    ]
    found = prepare(tasks.get("fiqa_sa"), data_dir=None, out=tmp_path / "out", from_hub=True)
    assert {s: e["rows"] for s, e in found.manifest["splits"].items()} == {"train": 24, "test": 6}


def test_finer_s_tag_ids_become_names(hub, tmp_path):
    names = datasets.ClassLabel(names=["O", "B-Assets", "B-Goodwill"])
    features = datasets.Features(
        {"tokens": datasets.List(datasets.Value("string")), "ner_tags": datasets.List(names)}
    )
    for split, number in (("train", 1), ("validation", 2), ("test", 1)):
        rows = {"tokens": [[split, "7"]], "ner_tags": [[0, number]]}
        hub.content[split] = datasets.Dataset.from_dict(rows, features=features)
    prepare(tasks.get("finer"), data_dir=None, out=tmp_path / "out", from_hub=True)
    rows = read_split(tasks.get("finer"), "validation", data_dir=tmp_path / "out").rows
    assert [(r["text"], r["entity"], r["label"]) for r in rows] == [
        ("validation 7", "7", "us-gaap:Goodwill")
    ]


def test_without_a_hub_nothing_is_dialled(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_ENDPOINT")
    with pytest.raises(HubUnreachableError, match="No hub is named"):
        prepare(tasks.get("tfns"), data_dir=None, out=tmp_path / "out", from_hub=True)
    with pytest.raises(MissingFileError, match="names no data set on a hub"):
        prepare(tasks.get("fpb"), data_dir=None, out=tmp_path / "out", from_hub=True)
