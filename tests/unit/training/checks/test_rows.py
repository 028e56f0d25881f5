"""What is trained is the whole answer after the very prompt that is asked, in every data form."""

from __future__ import annotations

import copy

import pytest
import torch
from datasets import Dataset

from fin_qlora import XBRLMultiTaskCollator
from fin_qlora.errors import (
    ContractError,
    DataError,
    EmptyDatasetError,
    TruncatedAnswerError,
    UsageError,
)
from fin_qlora.prompts.contract import IGNORED

LONG = [
    {"prompt": "word " * 60 + "Answer:", "completion": " positive"},
    {"prompt": "Answer:", "completion": " negative"},
]


def trained(row, tokenizer) -> str:
    return tokenizer.decode([token for token in row["labels"] if token != IGNORED])


def prompt_of(row, tokenizer) -> str:
    count = next(i for i, label in enumerate(row["labels"]) if label != IGNORED)
    return tokenizer.decode(row["input_ids"][:count], skip_special_tokens=True)


def test_a_blank_at_the_end_of_a_prompt_goes_to_the_answer(make, tokenizer):
    rows = [{"prompt": "Input: shares rose\nAnswer: ", "completion": "positive"}] * 4
    (row, *_) = make(dataset=Dataset.from_list(rows)).train_dataset
    assert prompt_of(row, tokenizer) == "Input: shares rose\nAnswer:"
    assert trained(row, tokenizer) == " positive" + tokenizer.eos_token
    collated = XBRLMultiTaskCollator(tokenizer, tasks=("a",))([{**rows[0], "task": "a"}])
    assert collated["input_ids"][0].tolist() == row["input_ids"]


def test_a_prompt_that_would_merge_with_its_answer_is_refused(make):
    rows = [{"prompt": "It is posi", "completion": "tive"}] * 4
    with pytest.raises(ContractError, match="Row 1: the end of the prompt merges"):
        make(dataset=Dataset.from_list(rows))


def test_of_a_conversation_only_the_answers_are_trained(make, tokenizer):
    messages = [
        {"role": "user", "content": "Is it good? shares rose"},
        {"role": "assistant", "content": "positive"},
    ]
    trainer = make(dataset=Dataset.from_list([{"messages": messages}] * 4), max_steps=1)
    assert trained(trainer.train_dataset[0], tokenizer) == "positive<|eot_id|>"
    trainer.train()


def test_a_template_that_does_not_mark_answers_is_refused(make, tokenizer):
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    with pytest.raises(ContractError, match="does not mark the assistant's turns"):
        make(dataset=Dataset.from_list([{"messages": messages}] * 4), tokenizer_used=plain)


def test_prompt_and_completion_may_be_messages(make, tokenizer):
    rows = [
        {
            "prompt": [{"role": "user", "content": "Is it good?"}],
            "completion": [{"role": "assistant", "content": "positive"}],
        }
    ] * 4
    (row, *_) = make(dataset=Dataset.from_list(rows)).train_dataset
    assert trained(row, tokenizer) == "positive<|eot_id|>"


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_a_row_over_the_limit_is_refused_in_every_form(make, packing, stream):
    data = Dataset.from_list(LONG * 2)
    data = data.to_iterable_dataset() if stream else data
    with pytest.raises(TruncatedAnswerError, match="more than max_length=32"):
        make(dataset=data, packing=packing, max_length=32, max_steps=2).train()


def answer_losses(trainer) -> dict[str, list[float]]:
    """Return the loss of every trained token of every row, by the text of its prompt."""
    batch = trainer.data_collator(list(trainer.train_dataset))
    trainer.model.eval()
    with torch.no_grad():
        logits = trainer.model(
            **{name: value for name, value in batch.items() if name != "labels"}
        ).logits.float()
    labels, ids = batch["labels"], batch["input_ids"]
    found: dict[str, list[float]] = {}
    for row, column in (labels != IGNORED).nonzero().tolist():
        start = column
        while ids[row, start] != trainer.processing_class.bos_token_id:
            start -= 1
        trained = labels[row, start : column + 1] != IGNORED
        prompt = ids[row, start : column + 1][~trained]
        loss = -logits[row, column - 1].log_softmax(-1)[labels[row, column]]
        found.setdefault(trainer.processing_class.decode(prompt), []).append(float(loss))
    return found


def test_packed_rows_are_whole_and_have_the_loss_of_single_ones(make, tokenizer):
    rows = [{"prompt": f"Row {i}. Answer:", "completion": " negative"} for i in range(6)]
    packed = make(dataset=Dataset.from_list(rows), packing=True, max_length=64)
    single = make(dataset=Dataset.from_list(rows))
    assert len(packed.train_dataset) < len(rows)
    assert sum(len(row["seq_lengths"]) for row in packed.train_dataset) == len(rows)
    sums = [answer_losses(trainer) for trainer in (packed, single)]
    assert sums[0].keys() == sums[1].keys()
    assert len(sums[0]) == len(rows)
    for number, losses in sums[0].items():
        assert losses == pytest.approx(sums[1][number], rel=2e-2)
    packed.train()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"packing": True, "max_length": None}, "max_length is not set"),
        ({"packing": True, "packing_strategy": "wrapped"}, "cuts rows in two"),
    ],
)
def test_packing_that_cuts_is_refused(make, settings, says):
    with pytest.raises(UsageError, match=says):
        make(**settings)


@pytest.mark.parametrize("completion", ["", "  "])
def test_an_empty_answer_is_refused(make, completion):
    rows = [{"prompt": "a", "completion": completion}] * 4
    with pytest.raises(DataError, match="Row 1 has an empty completion"):
        make(dataset=Dataset.from_list(rows))


def test_an_answer_of_the_end_token_alone_is_refused(make, tokenizer):
    end = tokenizer.eos_token_id
    rows = [{"input_ids": [9, 10, end], "labels": [IGNORED, IGNORED, end]}] * 4
    with pytest.raises(DataError, match="no trained token but the end"):
        make(dataset=Dataset.from_list(rows))


def test_no_rows_at_all_are_refused(make):
    nothing = Dataset.from_dict({"prompt": [], "completion": []})
    with pytest.raises(EmptyDatasetError):
        make(dataset=nothing)


def test_the_number_of_a_bad_row_is_its_place_in_the_data(make):
    rows = [{"prompt": "a", "completion": " b"}] * 5 + LONG[:1]
    with pytest.raises(TruncatedAnswerError, match="Row 6 has"):
        make(dataset=Dataset.from_list(rows), max_length=32, shuffle_dataset=True)
