"""What the evidence says of a run's settings: all that could change a result, nothing private."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest

from fin_qlora.recipes.arguments import parse
from fin_qlora.recipes.configuration import configuration


@pytest.fixture
def recorded():
    def record(*flags: str) -> dict:
        run, training, base = parse(["--task", "tfns", *flags])
        found = configuration(run, training, base, quantization=base.quantization)
        assert json.loads(json.dumps(found)) == found
        return found

    return record


def test_the_main_settings_are_always_there(recorded):
    found = recorded("--load_in_4bit")
    assert found["quantization"] == "4bit"
    assert found["lora_target_modules"] == ["k_proj", "q_proj", "v_proj"]
    assert (found["learning_rate"], found["lr_scheduler_type"]) == (1e-4, "linear")
    assert (found["max_length"], found["world_size"], found["form"]) == (1024, 1, "plain")


def test_every_other_setting_is_there_when_it_is_not_the_default(recorded):
    usual = recorded()
    found = recorded(
        *("--neftune_noise_alpha", "5", "--label_smoothing_factor", "0.1"),
        *("--lora_target_modules", "all-linear", "--lora_modules_to_save", "norm"),
        *("--evaluation_batch_size", "4"),
    )
    assert found["lora_target_modules"] == "all-linear"
    added = {name: found[name] for name in found.keys() - usual.keys()}
    assert added == {
        "neftune_noise_alpha": 5.0,
        "label_smoothing_factor": 0.1,
        "lora_modules_to_save": ["norm"],
        "evaluation_batch_size": 4,
    }


def test_no_folder_and_no_secret_is_told(recorded, tmp_path):
    found = recorded(
        *("--data_dir", str(tmp_path), "--output_dir", str(tmp_path / "out")),
        *("--run_name", "secret", "--accelerator_config", '{"split_batches": false}'),
        *("--lr_scheduler_kwargs", '{"api_key": "sesame", "place": "/home/alice/x"}'),
    )
    assert found["lr_scheduler_kwargs"] == {"place": "x"}
    assert str(tmp_path) not in json.dumps(found)


def test_of_a_deepspeed_configuration_the_content_is_told():
    run, training, base = parse(["--task", "tfns"])
    training.deepspeed = "/home/alice/zero.json"
    content = {"zero_optimization": {"stage": 1}, "comet": {"api_key": "sesame"}, "print": math.inf}
    training.hf_deepspeed_config = SimpleNamespace(config=content)
    found = configuration(run, training, base, quantization="none")
    assert found["deepspeed"] == {"zero_optimization": {"stage": 1}, "comet": {}, "print": "inf"}
