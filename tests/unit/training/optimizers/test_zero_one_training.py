"""Where 0/1 Adam cannot work it is refused with the reason, and what is left open is derived."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fin_qlora import FinSFTConfig
from fin_qlora.errors import MissingFileError, UsageError
from fin_qlora.training.optimizers.zero_one_adam import ZeroOneAdam
from fin_qlora.training.optimizers.zero_one_training import (
    load_own_states,
    schedule,
    settle_optimizer,
)


@pytest.fixture
def config(tmp_path):
    return lambda **settings: FinSFTConfig(
        output_dir=str(tmp_path), optim="zero_one_adam", **settings
    )


def arguments(**differing: object) -> SimpleNamespace:
    usual = {
        "optim": "zero_one_adam",
        "fsdp": None,
        "fp16": False,
        "world_size": 2,
        "zero_one_single_process": "refuse",
    }
    return SimpleNamespace(**usual | differing)


def deepspeed(stage: int) -> SimpleNamespace:
    return SimpleNamespace(get_value=lambda key, default: stage)


def test_the_name_reads_back(config):
    assert config().optim == "zero_one_adam"
    assert FinSFTConfig.of(config()).optim == "zero_one_adam"


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({"world_size": 1}, "there is only one"),
        ({"hf_deepspeed_config": deepspeed(2)}, "ZeRO stage 2"),
        ({"fsdp": True}, "FSDP"),
        ({"fp16": True}, "leave out steps that overflow on its own"),
    ],
)
def test_it_is_refused_with_the_reason(differing, said):
    with pytest.raises(UsageError, match=said):
        settle_optimizer(arguments(**differing))


@pytest.mark.parametrize(
    "differing", [{}, {"hf_deepspeed_config": deepspeed(0), "fp16": True}, {"optim": "adamw_torch"}]
)
def test_elsewhere_it_is_not(differing):
    found = arguments(**differing)
    settle_optimizer(found)
    assert found.optim == differing.get("optim", "zero_one_adam")


def test_one_process_takes_adamw_only_when_asked(config):
    found = config(zero_one_single_process="adamw")
    settle_optimizer(found)
    assert found.optim == "adamw_torch"
    with pytest.raises(UsageError, match="zero_one_single_process is 'adam'"):
        config(zero_one_single_process="adam")


@pytest.mark.parametrize("steps", [100, 1491, 3000])
def test_every_run_of_an_adapter_freezes_and_takes_local_steps(config, steps):
    found = schedule(config(), steps)
    assert found.var_freeze_step == 3 * steps // 4
    # the interval between refreshments doubles, and still there are enough of them by then
    passed = refreshed = 0
    while refreshed < 20:
        passed += 2 ** (refreshed // found.var_update_scaler)
        refreshed += 1
    assert passed <= max(found.var_freeze_step, 25)
    assert found.var_freeze_step + 2 * found.local_step_scaler <= steps


def test_what_is_set_is_kept(config):
    found = schedule(config(zero_one_var_freeze_step=7, zero_one_local_step_scaler=9), 1000)
    assert (found.var_freeze_step, found.local_step_scaler) == (7, 9)


def test_the_optimizer_alone_refuses_one_process():
    with pytest.raises(UsageError, match="there is only one"):
        ZeroOneAdam([])


def test_a_checkpoint_without_the_processes_states_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match=r"zero_one_adam\.pt"):
        load_own_states(SimpleNamespace(steps=3), tmp_path)
