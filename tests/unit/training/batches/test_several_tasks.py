"""Several tasks in one run: weights by name, none lost in packing, none mistaken."""

from __future__ import annotations

import pytest
from datasets import Dataset
from trl import TrlParser

from fin_qlora import FinSFTConfig, XBRLMultiTaskCollator
from fin_qlora.errors import DataError, UnknownNameError, UsageError
from fin_qlora.training.batches.several_tasks import parsed_weights, tasks_of, weights_by_id

ROWS = [
    {"prompt": f"Question {i}? Answer:", "completion": " yes", "task": "ab"[i % 2]}
    for i in range(8)
]
ONE_TASK = [{**row, "task": "a"} for row in ROWS]


def test_the_tasks_of_a_data_set():
    data = Dataset.from_list(ROWS)
    assert tasks_of(data) == tasks_of(ROWS) == ["a", "b"]
    assert tasks_of(data.remove_columns("task")) == []
    assert tasks_of(data.select([])) == []
    assert tasks_of(data.to_iterable_dataset()) == []


@pytest.mark.parametrize("given", ['{"a": 2, "b": 0.5}', {"a": 2, "b": 0.5}])
def test_weights_are_json_or_a_mapping(given, tmp_path):
    config = FinSFTConfig(output_dir=str(tmp_path), task_weights=given)
    assert config.task_weights == {"a": 2.0, "b": 0.5}
    assert weights_by_id(config.task_weights, task_ids={"b": 0, "c": 1, "a": 2}) == [0.5, 1.0, 2.0]


def test_no_weights_are_none(tmp_path):
    assert FinSFTConfig(output_dir=str(tmp_path)).task_weights is None
    assert parsed_weights("{}") == {}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a=2", "no mapping"),
        ("[1, 2]", "no mapping"),
        ('{"a": 0}', "0 for 'a'"),
        ('{"a": -1}', "-1 for 'a'"),
        ('{"a": NaN}', "nan for 'a'"),
        ('{"a": Infinity}', "inf for 'a'"),
        ({"a": True}, "True for 'a'"),
        ({"a": "2"}, "'2' for 'a'"),
    ],
)
def test_weights_that_are_none_are_refused(given, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        FinSFTConfig(output_dir=str(tmp_path), task_weights=given)


def test_weights_from_flags_and_from_a_recipe(tmp_path):
    parser = TrlParser((FinSFTConfig,))
    flags = ["--output_dir", str(tmp_path), "--task_weights", '{"a": 3}', "--task_sampling=equal"]
    (config,) = parser.parse_args_and_config(flags)
    assert (config.task_weights, config.task_sampling) == ({"a": 3.0}, "equal")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"output_dir: {tmp_path}\ntask_weights:\n  a: 3\n  b: 1.5\n", "utf-8")
    (config,) = TrlParser((FinSFTConfig,)).parse_args_and_config(["--config", str(recipe)])
    assert config.task_weights == {"a": 3.0, "b": 1.5}


def collator(tokenizer, *tasks):
    return XBRLMultiTaskCollator(tokenizer, tasks=tasks)


def test_a_weight_of_no_task_is_refused(make, tokenizer):
    data = Dataset.from_list(ROWS)
    with pytest.raises(UnknownNameError, match="no task 'xbrl_tags'"):
        make(dataset=data, collator=collator(tokenizer, "a", "b"), task_weights={"xbrl_tags": 2})
    with pytest.raises(UnknownNameError, match="no task 'a'"):
        make(task_weights={"a": 2})


def test_a_task_that_the_collator_does_not_know_is_refused(make, tokenizer):
    data = Dataset.from_list([*ROWS, {**ROWS[0], "task": "xbrl_tags"}])
    with pytest.raises(DataError, match=r"'xbrl_tags'.*Did you mean 'xbrl_tag'"):
        make(dataset=data, collator=collator(tokenizer, "a", "b", "xbrl_tag"))
    good = Dataset.from_list(ROWS)
    with pytest.raises(DataError, match="'xbrl_tags'"):
        make(
            dataset=good,
            collator=collator(tokenizer, "a", "b"),
            options={"eval_dataset": {"held out": data}},
        )


@pytest.mark.parametrize("stream", [False, True])
def test_several_tasks_need_a_collator_that_passes_them_on(make, stream):
    data = Dataset.from_list(ROWS)
    with pytest.raises(DataError, match=r"does not pass on the tasks.*XBRLMultiTaskCollator"):
        make(dataset=data.to_iterable_dataset() if stream else data)


def test_one_task_needs_none(make):
    trainer = make(dataset=Dataset.from_list(ONE_TASK), max_steps=1)
    assert "task_ids" not in next(iter(trainer.get_train_dataloader()))
    trainer.train()


@pytest.mark.parametrize("stream", [False, True])
def test_several_tasks_are_not_packed(make, stream):
    data = Dataset.from_list(ROWS)
    with pytest.raises(UsageError, match=r"packing is on.*loses their names"):
        make(dataset=data.to_iterable_dataset() if stream else data, packing=True, max_length=64)


def test_one_task_is_packed(make):
    trainer = make(dataset=Dataset.from_list(ONE_TASK), packing=True, max_length=128, max_steps=1)
    assert len(trainer.train_dataset) < len(ONE_TASK)
    trainer.train()


@pytest.mark.parametrize("setting", ["packing", "padding_free"])
def test_a_collator_of_ones_own_gets_no_packed_rows(make, tokenizer, setting):
    with pytest.raises(UsageError, match=f"{setting} is on, and a data collator is given"):
        make(collator=collator(tokenizer, "a"), **{setting: True})
