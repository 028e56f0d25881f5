"""What a repository says of itself is read, and what it cannot say is refused."""

import json

import pytest

from fin_qlora_hub.cards import Card, CardError, describe, parse_metadata

README = b"""---
license: mit
language: [en, de]
tags: [finance]
base_model: org/base
pipeline_tag: text-classification
date: 2026-01-02
---
# Card
"""


def test_card_and_adapter_configuration_become_tags() -> None:
    adapter = {"base_model_name_or_path": "org/base", "peft_type": "LORA", "revision": "abc"}
    texts = {"README.md": README, "adapter_config.json": json.dumps(adapter).encode()}
    card = describe(texts, paths=["adapter_model.safetensors"])
    assert set(card.tags) == {
        "peft",
        "safetensors",
        "text-classification",
        "finance",
        "en",
        "de",
        "license:mit",
        "base_model:org/base",
        "base_model:adapter:org/base",
    }
    assert card.library_name == "peft"
    assert card.pipeline_tag == "text-classification"
    assert card.data["date"] == "2026-01-02"
    assert card.config["peft"] == adapter
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_a_path_is_no_base_model() -> None:
    adapter = {"base_model_name_or_path": "/home/x/models/base"}
    card = describe({"adapter_config.json": json.dumps(adapter).encode()}, paths=[])
    assert not [tag for tag in card.tags if tag.startswith("base_model")]


def test_broken_files_say_nothing() -> None:
    card = describe({"README.md": b"---\na: [\n---\n", "config.json": b"{"}, paths=[])
    assert card == Card()


@pytest.mark.parametrize(
    ("readme", "complaint"),
    [
        ("---\na: [\n---\n", "not valid YAML"),
        ("---\n- a\n---\n", "mapping"),
        ("---\na: &x [1]\nb: [*x, *x]\n---\n", "aliases"),
        ("---\na: !!python/object/apply:os.system ['true']\n---\n", "not valid YAML"),
        ("---\na: .nan\n---\n", "JSON"),
        ("---\na: " + "[" * 5000 + "\n---\n", "simplify|YAML"),
    ],
)
def test_bad_metadata_is_refused(readme: str, complaint: str) -> None:
    with pytest.raises(CardError, match=complaint):
        parse_metadata(readme)


@pytest.mark.parametrize("readme", ["", "# no metadata", "---\n---\n", "text\n---\na: 1\n---\n"])
def test_no_metadata_is_allowed(readme: str) -> None:
    assert parse_metadata(readme) == {}
