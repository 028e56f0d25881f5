"""Two tasks in one batch: padded right, masked right, ids kept."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
from datasets import Dataset

from fin_qlora import XBRLMultiTaskCollator
from fin_qlora.errors import ContractError, DataError
from fin_qlora.prompts.contract import IGNORED

TAG = {
    "task": "xbrl_tag",
    "prompt": "<Assets contextRef='c-9'>352583</Assets>\nWhich tag? Answer: ",
    "completion": "us-gaap:Assets",
}
VALUE = {"task": "xbrl_value", "prompt": "What are the assets? Answer:\n", "completion": "352583"}
# the blank that ends a prompt belongs to the answer, a line break does not
ANSWERS = ["352583", " us-gaap:Assets"]


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
        assert tokenizer.decode(trained[:-1]) == ANSWERS[row]
        length = int(batch["attention_mask"][row].sum())
        assert batch["input_ids"][row, length:].tolist() == [tokenizer.pad_token_id] * (
            width - length
        )
        assert all(label == IGNORED for label in labels[length:])
        prompt_length = length - len(trained)
        prompt = tokenizer.decode(batch["input_ids"][row, 1:prompt_length])
        assert prompt == example["prompt"].rstrip(" ")


def test_encoded_examples_pass_unchanged(collator):
    example = {"task": "xbrl_tag", "input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}
    batch = collator([example, VALUE])
    assert batch["input_ids"][0, :3].tolist() == [5, 6, 7]
    assert batch["labels"][0, :3].tolist() == [IGNORED, 6, 7]


@pytest.mark.parametrize(
    ("example", "says"),
    [
        ({**TAG, "task": "xbrl_tags"}, "'xbrl_tags'. Did you mean 'xbrl_tag'"),
        ({**TAG, "task": None}, "the task None. Known: xbrl_tag, xbrl_value"),
        ({**TAG, "completion": " "}, "empty completion"),
        ({"task": "xbrl_tag", "input_ids": [1], "labels": [IGNORED]}, "no trained token"),
        ({"task": "xbrl_tag", "input_ids": [1, 2], "labels": [2]}, "2 input_ids and 1 labels"),
        ({"task": "xbrl_tag", "input_ids": [1]}, "columns task, input_ids"),
        ({"prompt": "a", "completion": " b"}, "names no task; it has the columns prompt"),
        ({}, "An example has no column"),
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


@pytest.mark.parametrize("tasks", [(), ("a", "a"), "ab"])
def test_tasks_are_different_names(tokenizer, tasks):
    with pytest.raises(DataError, match="not one or more different names"):
        XBRLMultiTaskCollator(tokenizer, tasks=tasks)


def test_where_there_is_one_task_it_needs_no_name(tokenizer):
    alone = XBRLMultiTaskCollator(tokenizer, tasks=("xbrl_tag",))
    assert alone([{"prompt": "a", "completion": " b"}])["task_ids"].tolist() == [0]


@pytest.mark.parametrize("end", [":", ": ", ":  ", ":\n"])
def test_text_becomes_what_the_trainer_makes_of_it(make, tokenizer, end):
    rows = [{"prompt": f"Which tag is it? Answer{end}", "completion": " Assets"}] * 4
    (trained, *_) = make(dataset=Dataset.from_list(rows)).train_dataset
    batch = XBRLMultiTaskCollator(tokenizer, tasks=("a",))(rows[:1])
    assert batch["input_ids"][0].tolist() == trained["input_ids"]
    assert batch["labels"][0].tolist() == trained["labels"]


@pytest.mark.parametrize("encoded", [False, True])
def test_by_hand_under_the_plain_trainers(make, tokenizer, small_base, tmp_path, encoded):
    """Text and encoded rows train under transformers' own Trainer, which knows nothing of tasks."""
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    class Plain(Trainer):
        def compute_loss(self, model, inputs, *rest, **options):
            seen.append(inputs.pop("task_ids").tolist())
            return super().compute_loss(model, inputs, *rest, **options)

    seen = []
    collate = XBRLMultiTaskCollator(tokenizer, tasks=("xbrl_tag", "xbrl_value"))
    rows = [TAG, VALUE] * 4
    if encoded:
        batch = collate(rows)
        whole = batch["attention_mask"].sum(1).tolist()
        rows = [
            {
                "task": row["task"],
                "input_ids": batch["input_ids"][i, : whole[i]].tolist(),
                "labels": batch["labels"][i, : whole[i]].tolist(),
            }
            for i, row in enumerate(rows)
        ]
    trainer = Plain(
        model=AutoModelForCausalLM.from_pretrained(small_base),
        args=TrainingArguments(
            output_dir=str(tmp_path),
            use_cpu=True,
            max_steps=2,
            per_device_train_batch_size=4,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        data_collator=collate,
    )
    trainer.train()
    assert sorted(chain(*seen)) == [0] * 4 + [1] * 4


def test_by_hand_in_a_loop_of_ones_own(tokenizer):
    """GlobalBatches and the collator make a plain DataLoader mix tasks by a rule."""
    from torch.utils.data import DataLoader

    from fin_qlora.training.batches.dealing import Cut
    from fin_qlora.training.batches.sampling import GlobalBatches

    rows = [TAG] * 12 + [VALUE] * 4
    batches = GlobalBatches(
        [len(row["prompt"]) for row in rows],
        tasks=[row["task"] for row in rows],
        cut=Cut(micro_batch=4),
        rule="equal",
    )
    collate = XBRLMultiTaskCollator(tokenizer, tasks=("xbrl_tag", "xbrl_value"))
    loader = DataLoader(rows, batch_sampler=batches, collate_fn=collate)
    assert [sorted(batch["task_ids"].tolist()) for batch in loader] == [[0, 0, 1, 1]] * 4
