"""Encoding refuses a set in which one row would be trained wrong, and is the same ids when fast."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

import pytest

from fin_qlora import tasks
from fin_qlora.data import encode
from fin_qlora.data.encode import encode_rows, shared_beginning
from fin_qlora.errors import (
    ContractError,
    EmptyDatasetError,
    TruncatedAnswerError,
    UnknownLabelError,
    UsageError,
)
from fin_qlora.prompts import PromptContract

CONTRACT = tasks.get("tfns").contract()
ROWS = [{"text": "up", "label": "positive"}, {"text": "down " * 50, "label": "negative"}]


def test_rows_keep_their_order_and_lengths(tokenizer):
    encoded = encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    alone = [CONTRACT.encode(tokenizer, row, row["label"]) for row in ROWS]
    assert encoded.examples == alone
    assert encoded.longest == max(len(e.input_ids) for e in alone)
    assert encoded.mean_length == sum(len(e.input_ids) for e in alone) / 2
    assert encoded.trained_tokens == sum(e.answer_tokens for e in alone)
    assert encoded.kept == [0, 1]
    assert encoded.dropped == 0
    assert encoded.shortened == {"rows": 0, "tokens": 0, "facts": 0}


@pytest.mark.parametrize("form", ["plain", "chat"])
def test_batches_give_the_ids_of_rows_alone(tokenizer, form, monkeypatch):
    contract = tasks.get("synthetic_ner").contract(form)
    rows = [
        {"text": f"{'word ' * n}“é” 株 {n}\n", "entity": f"E{n}", "label": contract.labels[n % 3]}
        for n in range(23)
    ]
    alone = [contract.encode(tokenizer, row, row["label"]) for row in rows]
    for size in (1, 2, 7, 1000):
        monkeypatch.setattr(encode, "BATCH", size)
        seen: list[int] = []
        encoded = encode_rows(
            rows, contract=contract, tokenizer=tokenizer, max_length=None, progress=seen.append
        )
        assert encoded.examples == alone
        assert seen[-1] == len(rows)


def test_training_columns_are_the_examples(tokenizer):
    from datasets import Dataset

    encoded = encode_rows(ROWS * 3, contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    import pyarrow

    dataset = Dataset(pyarrow.table(encoded.training_columns()))
    for row, example in zip(dataset, encoded.examples, strict=True):
        assert row == {"input_ids": example.input_ids, "labels": example.labels}
    fewer = encode_rows(
        ROWS * 3, contract=CONTRACT, tokenizer=tokenizer, max_length=60, on_overlong="drop"
    )
    columns = fewer.training_columns()
    assert columns["labels"].to_pylist() == [example.labels for example in fewer.examples]


def test_what_all_rows_begin_with_is_counted_in_tokens(tokenizer):
    encoded = encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    ids = [example.input_ids for example in encoded.examples]
    shared = shared_beginning([encoded])
    assert 0 < shared < min(map(len, ids))
    assert len({tuple(one[:shared]) for one in ids}) == 1
    assert len({tuple(one[: shared + 1]) for one in ids}) > 1
    other = replace(CONTRACT, instruction="Another question altogether.")
    both = [encoded, encode_rows(ROWS, contract=other, tokenizer=tokenizer, max_length=None)]
    assert shared_beginning(both) < shared
    alone = encode_rows(ROWS[:1], contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    assert shared_beginning([alone, alone]) == alone.longest
    assert shared_beginning([]) == 0


def test_a_row_over_the_limit_is_an_error_not_a_shorter_row(tokenizer):
    with pytest.raises(TruncatedAnswerError, match=r"1 of 2 rows .* row 2 "):
        encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=60)


def test_rows_over_the_limit_are_dropped_when_asked_and_counted(tokenizer):
    encoded = encode_rows(
        ROWS[::-1], contract=CONTRACT, tokenizer=tokenizer, max_length=60, on_overlong="drop"
    )
    assert encoded.dropped == 1
    assert encoded.kept == [1]
    assert encoded.examples == [CONTRACT.encode(tokenizer, ROWS[0], "positive")]
    with pytest.raises(EmptyDatasetError, match="All 2 rows"):
        encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=9, on_overlong="drop")


def test_rows_over_the_limit_are_shortened_when_asked_and_counted(tokenizer):
    contract = replace(CONTRACT, shorten_to=60)
    encoded = encode_rows(
        ROWS, contract=contract, tokenizer=tokenizer, max_length=60, on_overlong="shorten"
    )
    whole = CONTRACT.encode(tokenizer, ROWS[1], "negative")
    assert encoded.longest <= 60
    lost = len(whole.input_ids) - len(encoded.examples[1].input_ids)
    assert encoded.shortened == {"rows": 1, "tokens": lost, "facts": 0}
    assert encoded.examples[1].labels[-2:] == whole.labels[-2:]
    assert encoded.columns["cut_tokens"].to_pylist() == [0, lost]


def test_rows_that_cannot_be_shortened_enough_are_left_out_when_asked(tokenizer):
    contract = replace(CONTRACT, shorten_to=60)
    kept = {"facts": [{"text": ROWS[1]["text"], "keep": True}]}
    rows = [{**ROWS[1], **kept}, ROWS[1], ROWS[0]]
    settings = {"contract": contract, "tokenizer": tokenizer, "max_length": 60}
    encoded = encode_rows(rows, on_overlong="shorten_or_drop", **settings)
    assert encoded.kept == [1, 2]
    assert encoded.dropped == 1
    assert encoded.shortened["rows"] == 1
    assert encoded.examples == encode_rows(rows[1:], on_overlong="shorten", **settings).examples
    with pytest.raises(TruncatedAnswerError, match="Row 1 has a prompt"):
        encode_rows(rows, on_overlong="shorten", **settings)
    with pytest.raises(UsageError, match="shortens to None"):
        encode_rows(rows, on_overlong="shorten_or_drop", **settings | {"contract": CONTRACT})


def test_distractor_facts_are_counted_per_row(tokenizer):
    contract = PromptContract(
        instruction="Answer.",
        input_template="{text}\nQuestion: {question}",
        grammar="number",
        shorten_to=220,
    )
    facts = [{"text": f"<a{n}>{n}</a{n}>", "keep": n == 7} for n in range(20)]
    row = {
        "text": "\n".join(fact["text"] for fact in facts),
        "question": "How much is a7?",
        "label": "7",
        "facts": facts,
    }
    encoded = encode_rows([row], contract=contract, tokenizer=tokenizer, max_length=220)
    text = tokenizer.decode(encoded.examples[0].input_ids)
    assert "<a7>7</a7>" in text
    assert "How much is a7?" in text
    left = sum(fact["text"] in text for fact in facts)
    assert encoded.shortened["facts"] == 20 - left > 0
    assert "[...]" not in text


def test_a_row_that_cannot_be_shortened_is_named(tokenizer, monkeypatch):
    monkeypatch.setattr(encode, "BATCH", 2)
    rows = [ROWS[0], ROWS[0], {"text": "x", "label": "neutral"}]
    with pytest.raises(TruncatedAnswerError, match=r"Row 1 .* cannot be shortened"):
        encode_rows(
            rows, contract=replace(CONTRACT, shorten_to=20), tokenizer=tokenizer, max_length=20
        )
    long = {"text": "unblanked" * 2 + " " + "y" * 90, "label": "neutral"}
    limit = max(len(CONTRACT.encode(tokenizer, row, "neutral").input_ids) for row in rows) + 1
    contract = replace(CONTRACT, shorten_to=limit)
    with pytest.raises(TruncatedAnswerError, match="Row 4 "):
        encode_rows([*rows, long], contract=contract, tokenizer=tokenizer, max_length=limit)


def test_an_answer_longer_than_its_room_is_an_error_where_rows_are_shortened(tokenizer):
    contract = PromptContract(
        instruction="Answer.", grammar="text", shorten_to=200, answer_tokens=8
    )
    rows = [{"text": "a", "label": "brief"}, {"text": "b", "label": "a much longer answer " * 3}]
    rows[1]["label"] = rows[1]["label"].strip()
    with pytest.raises(TruncatedAnswerError, match="answer of row 2"):
        encode_rows(rows, contract=contract, tokenizer=tokenizer, max_length=200)


def test_no_row_is_an_error(tokenizer):
    with pytest.raises(EmptyDatasetError):
        encode_rows([], contract=CONTRACT, tokenizer=tokenizer, max_length=None)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"text": "a", "label": "bullish"}, UnknownLabelError),
        ({"text": "a"}, UnknownLabelError),
        ({"label": "neutral"}, ContractError),
        ({"text": "a <|eot_id|>", "label": "neutral"}, ContractError),
    ],
)
def test_one_wrong_row_refuses_the_set(tokenizer, row, error):
    with pytest.raises(error):
        encode_rows([*ROWS, row], contract=CONTRACT, tokenizer=tokenizer, max_length=None)


@pytest.mark.parametrize(
    "settings",
    [
        {"on_overlong": "shorten", "max_length": 60},
        {"on_overlong": "shorten", "max_length": None},
        {"on_overlong": "drop", "max_length": None},
    ],
)
def test_settings_that_contradict_each_other_are_refused(tokenizer, settings):
    with pytest.raises(UsageError):
        encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, **settings)


def test_the_process_is_left_as_it_was(tokenizer):
    assert gc.isenabled()
    encode_rows(ROWS, contract=CONTRACT, tokenizer=tokenizer, max_length=None)
    assert gc.isenabled()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
