"""The global batch is the contract; what is accumulated follows from it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fin_qlora import FinSFTConfig
from fin_qlora.errors import UsageError
from fin_qlora.training.batches.batch_size import accumulation_for


def test_accumulation_follows():
    assert accumulation_for(32, micro_batch=4, processes=2) == 4
    assert accumulation_for(32, micro_batch=4, processes=2, given=4) == 4
    assert accumulation_for(8, micro_batch=8, processes=1) == 1


@pytest.mark.parametrize(
    ("whole", "micro", "processes", "given", "says"),
    [
        (30, 4, 2, 1, "no multiple of the 8 rows .* Set per_device_train_batch_size to 3"),
        (8, 16, 1, 1, "no multiple of the 16 rows .* Set per_device_train_batch_size to 8"),
        (7, 1, 2, 1, "Set global_batch_size to 6 or 8, or start fewer"),
        (3, 1, 4, 1, "Set global_batch_size to 4, or start fewer"),
        (
            64,
            16,
            3,
            1,
            "Set global_batch_size to 63 with per_device_train_batch_size 7 or 66 with "
            "per_device_train_batch_size 11, or start fewer",
        ),
        (16, 4, 2, 4, "gradient_accumulation_steps is 4, but global_batch_size 16 needs 2"),
        (0, 4, 2, 1, "global_batch_size is 0"),
        (8, 0, 2, 1, "per_device_train_batch_size is 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(whole, micro, processes, given, says):
    with pytest.raises(UsageError, match=says):
        accumulation_for(whole, micro_batch=micro, processes=processes, given=given)


@pytest.mark.parametrize(("whole", "micro"), [(63, 7), (66, 11)])
def test_what_is_advised_works(whole, micro):
    assert accumulation_for(whole, micro_batch=micro, processes=3) == whole // 3 // micro


def config(tmp_path, **settings) -> FinSFTConfig:
    return FinSFTConfig(output_dir=str(tmp_path), **settings)


def test_the_configuration_derives_it(tmp_path):
    made = config(tmp_path, global_batch_size=24, per_device_train_batch_size=4)
    assert made.gradient_accumulation_steps == 6
    assert FinSFTConfig.of(made) is made
    assert replace(made).gradient_accumulation_steps == 6
    assert config(tmp_path, gradient_accumulation_steps=3).gradient_accumulation_steps == 3


def test_the_configuration_refuses_a_contradiction(tmp_path):
    with pytest.raises(UsageError, match="gradient_accumulation_steps is 2"):
        config(
            tmp_path,
            global_batch_size=24,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
        )
    with pytest.raises(UsageError, match="auto_find_batch_size"):
        config(tmp_path, global_batch_size=24, auto_find_batch_size=True)


def test_deepspeed_gets_the_derived_accumulation(tmp_path):
    settings = {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "bf16": {"enabled": "auto"},
        "zero_optimization": {"stage": 1},
    }
    path = tmp_path / "deepspeed.json"
    path.write_text(json.dumps(settings), "utf-8")
    made = config(
        tmp_path, global_batch_size=24, per_device_train_batch_size=4, deepspeed=str(path)
    )
    filled = made.hf_deepspeed_config.config
    assert filled["gradient_accumulation_steps"] == made.gradient_accumulation_steps == 6
    assert filled["train_batch_size"] == 24
