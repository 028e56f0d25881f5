"""What is trained is looked at a second time, without trusting what encoded it."""

from __future__ import annotations

import json
import shutil

import numpy
import pyarrow
import pytest

from fin_qlora import tasks
from fin_qlora.errors import ContractError, DataError, TruncatedAnswerError, UnknownLabelError
from fin_qlora.training.checks.recheck import (
    check_gold,
    check_labels_and_stop,
    check_trained_tokens,
)

TASK = tasks.get("tfns")
CONTRACT = TASK.contract()
ROWS = [
    {"text": "Shares rose.", "label": "positive"},
    {"text": "Profit fell after a warning.", "label": "negative"},
    {"text": "No change.", "label": "neutral"},
]


@pytest.fixture
def check(tokenizer):
    """Check rows whose lists of ids and labels may be changed first."""

    def run(change=lambda ids, labels: None, *, rows=ROWS, task=TASK, max_length=None):
        contract = task.contract()
        examples = [contract.encode(tokenizer, row, row["label"]) for row in rows]
        ids = [list(example.input_ids) for example in examples]
        labels = [list(example.labels) for example in examples]
        change(ids, labels)
        columns = {"input_ids": pyarrow.array(ids), "labels": pyarrow.array(labels)}
        check_trained_tokens(
            columns,
            rows,
            task=task,
            contract=contract,
            tokenizer=tokenizer,
            max_length=max_length,
        )

    return run


def test_what_the_contract_encodes_passes(check):
    check()
    check(max_length=200)
    value = tasks.get("xbrl_value")
    rows = [
        {"text": "<a>12</a>", "question": "What is a?", "label": answer}
        for answer in ("12", "-0.5", "1578800000")
    ]
    check(rows=rows, task=value)


def test_slices_of_a_longer_column_are_read_at_their_place(check, tokenizer):
    examples = [CONTRACT.encode(tokenizer, row, row["label"]) for row in ROWS]
    ids = pyarrow.array([example.input_ids for example in examples]).slice(1)
    labels = pyarrow.array([example.labels for example in examples]).slice(1)
    check_trained_tokens(
        {"input_ids": ids, "labels": labels},
        ROWS[1:],
        task=TASK,
        contract=CONTRACT,
        tokenizer=tokenizer,
        max_length=None,
    )


def mask_all(ids, labels):
    labels[1] = [-100] * len(labels[1])


def train_the_prompt(ids, labels):
    labels[1][3] = ids[1][3]


def hole_in_the_answer(ids, labels):
    ids[2] = [*ids[2][:-1], ids[2][-2], ids[2][-1]]
    labels[2] = [*labels[2][:-1], -100, labels[2][-1]]


def without_its_end(ids, labels):
    ids[1], labels[1] = ids[1][:-1], labels[1][:-1]
    ids[1] += [ids[1][-1]]
    labels[1] += [labels[1][-1]]


def end_is_not_trained(ids, labels):
    labels[1][-1] = -100


def other_tokens(ids, labels):
    labels[1][-2] = labels[0][-2]


def anothers_answer(ids, labels):
    ids[1][-2] = labels[1][-2] = ids[0][-2]


def longer_prompt_is_trained(ids, labels):
    labels[1][-3] = ids[1][-3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (mask_all, "has no trained answer"),
        (train_the_prompt, "besides its answer"),
        (hole_in_the_answer, "besides its answer"),
        (without_its_end, "end of its answer"),
        (end_is_not_trained, "no trained answer|besides its answer"),
        (other_tokens, "other tokens than it shows"),
        (anothers_answer, "in place of 'negative'"),
        (longer_prompt_is_trained, "in place of 'negative'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_fault_of_an_encoder_is_seen(check, change, says):
    row = 3 if change is hole_in_the_answer else 2
    with pytest.raises(ContractError, match=rf"Row {row} of task 'tfns'.*({says})"):
        check(change)


def test_a_row_over_the_limit_and_a_missing_row_are_seen(check):
    with pytest.raises(TruncatedAnswerError, match=r"Row 2 of task 'tfns' has \d+ tokens"):
        check(max_length=30)

    def lose(ids, labels):
        del ids[0], labels[0]

    with pytest.raises(DataError, match="has 3 rows, but 2 were encoded"):
        check(lose)


def test_ids_and_labels_of_different_lengths_are_seen(check):
    with pytest.raises(DataError, match="different lengths"):
        check(lambda ids, labels: labels[0].pop())


@pytest.mark.parametrize(
    ("name", "answer"),
    [("xbrl_value", "12 or 13"), ("xbrl_tag", "two words"), ("tfns", "bullish")],
)
def test_an_answer_that_the_task_cannot_read_is_named_with_its_row(name, answer):
    task = tasks.get(name)
    good = {"xbrl_value": "12", "xbrl_tag": "us-gaap:Assets", "tfns": "neutral"}[name]
    rows = [{"text": "a", "label": good}, {"text": "b", "label": answer}]
    with pytest.raises(UnknownLabelError, match=rf"Row 2 of the train rows of task '{name}'"):
        check_gold(task, rows, split="train")
    check_gold(task, rows[:1], split="train")


def test_a_free_answer_needs_no_labels(tokenizer, small_base):
    check_labels_and_stop(tasks.get("xbrl_tag").contract(), tokenizer, small_base)


def test_where_the_base_stops_is_read(tokenizer, small_base, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(small_base, base)
    end = int(CONTRACT.end_token(tokenizer))
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": end}), "utf-8")
    check_labels_and_stop(CONTRACT, tokenizer, base)
    other = int(numpy.setdiff1d(tokenizer.all_special_ids, [end, tokenizer.pad_token_id])[0])
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": other}), "utf-8")
    with pytest.raises(ContractError, match="does not stop there"):
        check_labels_and_stop(CONTRACT, tokenizer, base)
