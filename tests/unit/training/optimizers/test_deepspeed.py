"""DeepSpeed configurations: what would be passed over, or done wrong, is refused with its name."""

from __future__ import annotations

import datetime
import json

import pytest
import torch

from fin_qlora import FinSFTConfig
from fin_qlora.errors import EnvironmentFault, UnknownNameError, UsageError
from fin_qlora.files import shipped
from fin_qlora.training.optimizers.deepspeed import KNOWN, REFUSED, configuration, join_processes
from fin_qlora.training.optimizers.zero_one_training import settle_optimizer

BF16 = {"bf16": {"enabled": True}}
ADAMW = {"type": "AdamW", "params": {"lr": "auto"}}


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Make a FinSFTConfig without leaving DeepSpeed switched on for other tests."""
    monkeypatch.delenv("ACCELERATE_USE_DEEPSPEED", raising=False)

    def make(**settings: object) -> FinSFTConfig:
        return FinSFTConfig(output_dir=str(tmp_path), **settings)

    yield make
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


@pytest.mark.parametrize(
    "path", [*shipped("ds_configs").glob("*.json")], ids=lambda path: path.stem
)
def test_what_ships_is_right(path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert configuration(path.stem) == configuration(str(path))
    assert configuration(path.read_text("utf-8")) == configuration(path.stem)


def test_what_is_left_out_is_filled_from_the_settings():
    """DeepSpeed clips at 1.0 where a file does not say."""
    found = configuration(BF16)
    assert found["gradient_clipping"] == "auto"
    assert found["train_micro_batch_size_per_gpu"] == "auto"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (BF16 | {"gradient_cliping": 1}, "Did you mean 'gradient_clipping'"),
        (BF16 | {"zero_optimization": {"sage": 1}}, "Did you mean 'stage'"),
        ({"bf16": {"enable": True}}, "Did you mean 'enabled'"),
        ({"optimizer": {"type": "AdamX"}}, "Did you mean 'AdamW'"),
        ({"optimizer": {"type": "AdamW", "params": {"weight_decai": 0}}}, "'weight_decay'"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": {"devise": "cpu"}}}, "'device'"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(settings, said):
    with pytest.raises(UnknownNameError, match=said):
        configuration(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        *[({key: {}}, f"sets '{key}'") for key in REFUSED],
        ({"zero_optimization": {"stage": 3, "mics_shard_size": 2}}, "DeepSpeed has removed it"),
        ({"zero_optimization": {"stage": 4}}, "zero_optimization.stage to 4"),
        ({"zero_optimization": 2}, "'zero_optimization' is 2"),
        ({"data_types": None}, "'data_types' is None"),
        ({"zero_optimization": {"stage": 1, "stage3_max_live_parameters": 1}}, "passes over it"),
        ({"zero_optimization": {"offload_optimizer": {"device": "cpu"}}}, "with ZeRO stage 0"),
        (
            {"zero_optimization": {"stage": 2, "offload_param": {"device": "cpu"}}},
            "sets offload_param with ZeRO stage 2",
        ),
        (
            {"zero_optimization": {"stage": 3, "offload_param": {"device": "nvme"}}},
            "nvme without nvme_path",
        ),
        (BF16 | {"fp16": {"enabled": True}}, "enables bf16 and fp16"),
        (BF16 | {"data_types": {"grad_accum_dtype": "fp32"}}, "accumulates gradients in fp32"),
        (BF16 | {"optimizer": ADAMW}, "step once on zero gradients"),
        ({"gradient_allreduce_op": "sum"}, "gradient_allreduce_op"),
        ({"optimizer": {"type": "AdamW", "params": {"max_grad_norm": 1.0}}}, "'max_grad_norm'"),
        ({"optimizer": {"type": "OneBitAdam"}}, "OneBitAdam, which DeepSpeed has removed"),
        (
            {"optimizer": {"type": "ZeroOneAdam"}, "zero_optimization": {"stage": 1}},
            "ZeroOneAdam with ZeRO stage 1",
        ),
        (
            {"optimizer": {"type": "ZeroOneAdam"}, "gradient_clipping": 1.0},
            "by that process's own norm",
        ),
        (
            {"optimizer": {"type": "ZeroOneAdam", "params": {"cuda_aware": False}}},
            "sets 'cuda_aware'",
        ),
        (
            {"optimizer": {"type": "ZeroOneAdam", "params": {"comm_backend_name": "nccl"}}},
            "sets 'comm_backend_name'",
        ),
        ('{"bf16": {"enabled": true}, "bf16": {}}', "'bf16' stands twice"),
        ('{"bf16": ', "is no JSON"),
    ],
)
def test_what_deepspeed_would_get_wrong_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        configuration(settings)


STAGE_1 = {"zero_optimization": {"stage": 1}}
AUTO = {"bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto", "loss_scale": 0}}


@pytest.mark.parametrize("half", [{"bf16": True}, {"bf16": False}])
def test_what_is_left_to_the_settings_follows_them(config, half):
    found = config(deepspeed=AUTO | STAGE_1 | {"optimizer": ADAMW}, **half)
    filled = found.hf_deepspeed_config.config
    assert filled["bf16"]["enabled"] is half["bf16"]
    assert filled["fp16"]["enabled"] is False
    assert config(deepspeed=AUTO | {"optimizer": ADAMW}, bf16=False).bf16 is False


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (AUTO, "uses optim 'adamw_torch_fused' in 16 bits without ZeRO"),
        ({}, "uses optim 'adamw_torch_fused' in 16 bits without ZeRO"),
        (AUTO | {"optimizer": ADAMW}, "uses AdamW in 16 bits without ZeRO"),
        (AUTO | {"data_types": {"grad_accum_dtype": "fp32"}}, "accumulates gradients in fp32"),
    ],
)
def test_what_the_settings_make_of_it_is_checked_again(config, settings, said):
    given = settings | {"zero_optimization": {"stage": 0}}
    assert config(deepspeed=given, bf16=False).bf16 is False
    with pytest.raises(UsageError, match=said):
        config(deepspeed=given, bf16=True)


def test_our_optimizer_ignores_the_step_on_zeros(config):
    assert config(deepspeed=dict(BF16), optim="zero_one_adam").optim == "zero_one_adam"
    with pytest.raises(UsageError, match="With one process 0/1 Adam is AdamW"):
        settle_optimizer(
            config(deepspeed=dict(BF16), optim="zero_one_adam", zero_one_single_process="adamw")
        )


@pytest.mark.parametrize(
    ("use_cpu", "gpu", "backend"),
    [(True, True, "gloo"), (False, True, "nccl"), (False, False, "gloo")],
)
def test_processes_meet_as_the_settings_say(monkeypatch, use_cpu, gpu, backend):
    asked = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu)
    meet = "deepspeed.init_distributed"
    monkeypatch.setattr(meet, lambda backend, *, timeout: asked.append((backend, timeout)))
    join_processes({"zero_optimization": {"stage": 3}}, on_gpu=not use_cpu, timeout=7)
    assert asked == [(backend, datetime.timedelta(seconds=7))]


def test_a_launch_meets_by_its_own_settings(config, monkeypatch):
    """The first meeting is the one that counts: transformers does not change it."""
    asked = []
    monkeypatch.setattr(
        "fin_qlora.training.optimizers.settings.join_processes",
        lambda settings, **how: asked.append(how),
    )
    config(deepspeed="adamw_zero3_bf16", use_cpu=True, ddp_timeout=9)
    assert asked == [{"on_gpu": False, "timeout": 9}]


def test_fp16_needs_a_gpu():
    with pytest.raises(EnvironmentFault, match="bf16 twin"):
        configuration({"fp16": {"enabled": True}})


def test_no_configuration_has_that_name():
    with pytest.raises(UnknownNameError, match="Did you mean 'adamw_zero1_bf16'"):
        configuration("adamw_zero1_bf61")


def test_deepspeed_reads_the_keys_that_are_let_through():
    """Each is a word of DeepSpeed's own sources."""
    from pathlib import Path

    import deepspeed

    root = Path(deepspeed.__file__).parent
    text = "".join(
        path.read_text("utf-8")
        for folder in ("runtime", "monitor", "comm", "profiling", "autotuning", "datastates")
        for path in (root / folder).rglob("*.py")
    )
    text += "".join((root / "utils" / name).read_text("utf-8") for name in ("config.py",))
    quoted = {key for key in KNOWN if f'"{key}"' in text or f"'{key}'" in text}
    assert quoted == KNOWN


def test_the_section_of_the_former_optimizer_becomes_settings(config):
    params = {"lr": "auto", "var_freeze_step": 30, "local_step_clipper": 2, "bias_correction": True}
    settings = BF16 | {"optimizer": {"type": "ZeroOneAdam", "params": params}}
    found = config(deepspeed=json.dumps(settings))
    assert found.optim == "zero_one_adam"
    assert (found.zero_one_var_freeze_step, found.zero_one_local_step_clipper) == (30, 2)
    assert "optimizer" not in found.deepspeed
    assert found.hf_deepspeed_config.config["gradient_clipping"] == found.max_grad_norm


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({"train_batch_size": 7}, {}, "sets train_batch_size to 7"),
        ({"gradient_clipping": 0.5}, {}, "gradient_clipping to 0.5, but max_grad_norm is 1.0"),
        (
            {"optimizer": {"type": "ZeroOneAdam", "params": {"var_freeze_step": 5}}},
            {"zero_one_var_freeze_step": 6},
            "zero_one_var_freeze_step is 6",
        ),
        (
            {"optimizer": {"type": "ZeroOneAdam", "params": {"lr": 1.0}}},
            {},
            "learning_rate is 0.0001",
        ),
        (
            {"optimizer": ADAMW, "zero_optimization": {"stage": 1}},
            {"optim": "zero_one_adam"},
            "has an optimizer of its own, AdamW",
        ),
    ],
)
def test_contradictions_are_named_before_a_model_is_loaded(config, settings, arguments, said):
    with pytest.raises(UsageError, match=said):
        config(deepspeed=json.dumps(BF16 | settings), **arguments)


def test_the_launcher_s_file_is_checked_too(config, monkeypatch, tmp_path):
    file = tmp_path / "launched.json"
    file.write_text(json.dumps(BF16 | {"zero_optimisation": {}}), "utf-8")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(file))
    with pytest.raises(UnknownNameError, match="Did you mean 'zero_optimization'"):
        config()


def test_a_launch_profile_names_a_shipped_configuration(config, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", "adamw_zero2_bf16")
    assert config().deepspeed["zero_optimization"]["stage"] == 2
    assert config(deepspeed="adamw_zero1_bf16").deepspeed["zero_optimization"]["stage"] == 1


def test_fsdp_on_a_processor_is_refused(config, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(EnvironmentFault, match="would train with plain DDP"):
        config(use_cpu=True)
