"""What a repository says of itself is read, and what it cannot say is refused."""

import json

import pytest
import yaml
from starlette.responses import JSONResponse

from fin_qlora_hub.cards import plainyaml
from fin_qlora_hub.cards.card import Card, CardError, describe, parse_metadata

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
    assert card.summary()["tags"] == list(card.tags)
    assert card.details() == {"data": card.data, "config": card.config, "results": []}


HOSTILE = [
    b'{"architectures": NaN, "model_type": Infinity}',
    b'{"model_type": "\\ud800", "architectures": ["\\udfff"]}',
    b'{"architectures": ' + b"9" * 4000 + b"}",
    b'{"architectures": [1e999, -1e999]}',
    b'{"architectures": ' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"architectures": ' + b"[" * 100_000,
    b'{"\\ud800": {"\\ud800": 1}, "peft_type": {"\\ud800": ["\\ud800"]}, "revision": NaN}',
    b'{"base_model_name_or_path": ["a/\\ud800", 1, null, {}], "architectures": "'
    + b"x" * 200_000
    + b'"}',
    b"[1]",
    b"\xff\xfe{",
    b"nul\x00",
    b"",
]
HOSTILE_METADATA = [
    b'foo: "\\ud800"',
    b'"\\ud800": 1',
    b"tags: [\xed\xa0\x80]",
    b"foo: .nan",
    b"tags: .inf\nlicense: -.inf",
    b"foo: " + b"9" * 5000,
    b"foo: 0x" + b"f" * 9000,
    b"foo: 1" + b":1" * 20_000,
    b"foo: " + b"[" * 60 + b"]" * 60,
    b"foo: " + b"[" * 5000,
    b"? {a: b}\n: 1",
    b"? [a]\n: 1",
    b"1: {2: {null: true}}",
    b"d: 2026-01-02\nb: !!binary aGk=\ns: !!set {a, b}",
    b"a: &x [*x]",
    b"tags: {a: 1}\nlanguage: 3\nbase_model: {}\nlibrary_name: [x]\npipeline_tag: 2026-01-02",
    b"license: " + b"x" * 60_000,
    b"a: !!timestamp 9999-99-99",
    b"a: 0001-01-01 00:00:00 +23:59",
    b"x:\n" + b"- a\n" * 40_000,
]


@pytest.mark.parametrize("path", ["config.json", "adapter_config.json", "README.md"])
@pytest.mark.parametrize("content", [*HOSTILE, *HOSTILE_METADATA])
def test_whatever_the_files_hold_the_card_can_be_shown(path: str, content: bytes) -> None:
    if path == "README.md":
        content = b"---\n" + content + b"\n---\n"
    card = describe({path: content}, paths=["x.safetensors", "\ud800"])
    shown = JSONResponse([card.summary(), card.details()]).body  # as routes do
    assert json.loads(shown) == json.loads(json.dumps([card.summary(), card.details()]))
    assert len(shown) < 300_000


def test_a_fault_in_reading_gives_an_empty_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fin_qlora_hub.cards.card._describe", lambda *_args, **_named: 1 / 0)
    assert describe({}, paths=[]) == Card()


def test_metadata_is_read_by_the_fast_loader_where_there_is_one() -> None:
    assert plainyaml._Loader is getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def test_a_long_plain_text_is_no_number() -> None:
    text = "a" * 200 + " " + "f" * 128
    assert parse_metadata(f"---\na: {text}\nb: {'f' * 128}\nc: '{'1' * 99}'\n---\n")["a"] == text


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
        ("---\na: 1" + ":1" * 1000 + "\n---\n", "endless number"),
        ("---\na: " + "x" * 65_536 + "\n---\n", "65,536 bytes"),
        ("---\na: " + "[" * 60 + "]" * 60 + "\n---\n", "levels"),
        ("---\na: " + "[" * 5000 + "\n---\n", "simplify|YAML"),
    ],
)
def test_bad_metadata_is_refused(readme: str, complaint: str) -> None:
    with pytest.raises(CardError, match=complaint):
        parse_metadata(readme)


@pytest.mark.parametrize("readme", ["", "# no metadata", "---\n---\n", "text\n---\na: 1\n---\n"])
def test_no_metadata_is_allowed(readme: str) -> None:
    assert parse_metadata(readme) == {}
