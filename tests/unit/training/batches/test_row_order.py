"""What the trainer reads: the rows of each step, and the same ones when it is resumed."""

from __future__ import annotations

from itertools import chain

import pytest
from datasets import Dataset
from transformers import TrainerCallback

from fin_qlora import XBRLMultiTaskCollator
from fin_qlora.errors import UsageError
from fin_qlora.prompts.contract import IGNORED
from fin_qlora.training.batches.row_order import lengths_of
from fin_qlora.training.batches.sampling import GlobalBatches

FIRST = 100  # the second token of a row says its number


def rows(count=27, *, tasks=("a", "a", "b")):
    found = []
    for i in range(count):
        length = 4 + 5 * (i % 7)
        ids = [1, FIRST + i, *range(20, 20 + length)]
        found.append(
            {
                "input_ids": ids,
                "labels": [IGNORED] * (length + 1) + [ids[-1]],
                "task": tasks[i % len(tasks)],
            }
        )
    return Dataset.from_list(found)


class Recorder:
    """A collator that notes the rows of every batch."""

    def __init__(self, tokenizer):
        self.collate = XBRLMultiTaskCollator(tokenizer, tasks=("a", "b"))
        self.task_ids = self.collate.task_ids
        self.seen = []

    def __call__(self, examples):
        self.seen.append([example["input_ids"][1] - FIRST for example in examples])
        return self.collate(examples)


@pytest.fixture
def recorded(make, tokenizer):
    def build(**settings):
        recorder = Recorder(tokenizer)
        defaults = {"dataset": rows(), "max_steps": -1, "per_device_train_batch_size": 2}
        trainer = make(collator=recorder, **(defaults | settings))
        return trainer, recorder

    return build


@pytest.mark.parametrize("share_prefix", [True, False])
def test_an_epoch_is_every_row_once_and_its_steps_come_out_right(recorded, share_prefix):
    trainer, recorder = recorded(
        num_train_epochs=2, global_batch_size=8, share_prefix=share_prefix, dataset=rows(27)
    )
    trainer.train()
    assert trainer.args.gradient_accumulation_steps == 4
    assert trainer.state.global_step == trainer.state.max_steps == 2 * 4
    assert trainer.state.epoch == 2
    for epoch in (recorder.seen[:14], recorder.seen[14:]):
        assert sorted(chain(*epoch)) == list(range(27))
        assert [len(batch) for batch in epoch[:12]] == [2] * 12
    assert recorder.seen[:14] != recorder.seen[14:]


def test_equal_shares_of_unequal_tasks(recorded):
    trainer, recorder = recorded(num_train_epochs=1, task_sampling="equal", global_batch_size=6)
    trainer.train()
    seen = [row % 3 == 2 for batch in recorder.seen for row in batch]
    assert len(seen) == 27
    assert sum(seen) in (13, 14)
    for first in range(0, 24, 6):
        assert sum(seen[first : first + 6]) in (2, 3, 4)


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == self.step


@pytest.mark.parametrize("stopped", [2, 4, 5, 7])
def test_a_resumed_run_reads_the_rows_that_the_whole_run_read(recorded, stopped):
    settings = {
        "num_train_epochs": 2,
        "global_batch_size": 8,
        "task_sampling": "equal",
        "save_strategy": "steps",
        "save_steps": 1,
    }
    whole, all_rows = recorded(**settings)
    whole.train()
    part, _ = recorded(**settings, options={"callbacks": [StopAfter(stopped)]})
    part.train()
    assert part.state.global_step == stopped
    resumed, rest = recorded(**settings)
    resumed.train(resume_from_checkpoint=f"{resumed.args.output_dir}/checkpoint-{stopped}")
    assert resumed.state.global_step == 8
    # 4 batches for each of the first three steps of an epoch, 2 for the last
    done = 14 * (stopped // 4) + 4 * (stopped % 4)
    assert rest.seen == all_rows.seen[done:]


def test_with_one_task_and_padding_rows_are_grouped_by_length(make):
    data = rows(200).remove_columns("task")
    even, grouped = (
        make(dataset=data, share_prefix=shared, per_device_train_batch_size=4)
        for shared in (True, False)
    )
    lengths = lengths_of(data)

    def padded(trainer):
        return sum(
            max(lengths[row] for row in batch) * len(batch)
            for batch in trainer._get_train_sampler()
        )

    assert padded(grouped) < 1.1 * sum(lengths) < padded(even)


@pytest.mark.parametrize(
    ("strategy", "ours"),
    [
        ("group_by_length", True),
        ("random", True),
        ("sequential", False),
        ("batch_rebalance", False),
    ],
)
def test_transformers_own_orders_are_left_alone(make, strategy, ours):
    sampler = make(train_sampling_strategy=strategy)._get_train_sampler()
    assert isinstance(sampler, GlobalBatches) == ours


def test_a_rule_that_cannot_be_followed_is_refused(make, tokenizer):
    collator = XBRLMultiTaskCollator(tokenizer, tasks=("a", "b"))
    stream = rows().to_iterable_dataset()
    with pytest.raises(UsageError, match="'equal', but the rows come as a stream"):
        make(dataset=stream, collator=collator, task_sampling="equal")
    settings = {"task_sampling": "temperature", "train_sampling_strategy": "sequential"}
    with pytest.raises(UsageError, match="train_sampling_strategy is 'sequential'"):
        make(dataset=rows(), collator=collator, **settings)


def test_a_stream_is_read_in_its_order(make, tokenizer):
    recorder = Recorder(tokenizer)
    make(dataset=rows(12).to_iterable_dataset(), collator=recorder, max_steps=3).train()
    assert list(chain(*recorder.seen))[:12] == list(range(12))


def test_the_order_is_not_that_of_torchs_own_numbers(recorded):
    import torch

    trainer, _ = recorded(data_seed=5)
    first = list(trainer._get_train_sampler())
    torch.manual_seed(999)
    assert list(trainer._get_train_sampler()) == first
    trainer.args.data_seed = 6
    assert list(trainer._get_train_sampler()) != first


def test_lengths_of_any_data_set():
    data = rows(5)
    found = [len(row["input_ids"]) for row in data]
    assert lengths_of(data) == lengths_of(list(data)) == found
    assert lengths_of(data.select([4, 2])) == [found[4], found[2]]
    assert lengths_of(data.with_format("torch")) == found
