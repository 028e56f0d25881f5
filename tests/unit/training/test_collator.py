"""Two tasks in one batch: padded right, masked right, ids kept."""

from __future__ import annotations

import copy

import pytest

from fin_qlora import XBRLMultiTaskCollator
from fin_qlora.errors import ContractError, DataError
from fin_qlora.prompts.contract import IGNORED

TAG = {
    "task": "xbrl_tag",
    "prompt": "<Assets contextRef='c-9'>352583</Assets>\nWhich tag? Answer: ",
    "completion": "us-gaap:Assets",
}
VALUE = {"task": "xbrl_value", "prompt": "What are the assets? Answer:", "completion": "352583"}


@pytest.fixture
def collator(tokenizer):
    return XBRLMultiTaskCollator(tokenizer, tasks=("xbrl_tag", "xbrl_value"))


def test_two_tasks_are_masked_padded_and_told_apart(collator, tokenizer):
    batch = collator([VALUE, TAG])
    assert batch["task_ids"].tolist() == [1, 0]
    rows, width = batch["input_ids"].shape
    assert rows == 2
    assert batch["labels"].shape == batch["attention_mask"].shape == (2, width)
    for row, example in enumerate([VALUE, TAG]):
        labels = batch["labels"][row].tolist()
        trained = [token for token in labels if token != IGNORED]
        assert trained[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(trained[:-1]) == f" {example['completion']}"
        length = int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, length:].tolist() == [tokenizer.pad_token_id] * (
            width - length
        )
        assert all(label == IGNORED for label in labels[length:])
        prompt_length = length - len(trained)
        prompt = tokenizer.decode(batch["input_ids"][row, 1:prompt_length])
        assert prompt == example["prompt"].rstrip()


def test_encoded_examples_pass_unchanged(collator):
    example = {"task": "xbrl_tag", "input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}
    batch = collator([example, VALUE])
    assert batch["input_ids"][0, :3].tolist() == [5, 6, 7]
    assert batch["labels"][0, :3].tolist() == [IGNORED, 6, 7]


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ({**TAG, "task": "xbrl_tags"}, "xbrl_tags"),
        ({**TAG, "completion": " "}, "empty completion"),
        ({"task": "xbrl_tag", "input_ids": [1], "labels": [IGNORED]}, "no trained token"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(collator, example, says):
    with pytest.raises(DataError, match=says):
        collator([example])


def test_a_tokenizer_that_pads_with_its_end_token_is_refused(tokenizer):
    confused = copy.deepcopy(tokenizer)
    confused.pad_token = confused.eos_token
    with pytest.raises(ContractError):
        XBRLMultiTaskCollator(confused, tasks=("a",))
