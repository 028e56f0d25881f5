"""Each process takes the cores that it was given, or its share of them all."""

import pytest
import torch

from fin_qlora.errors import EnvironmentFault
from fin_qlora.training.running import processes
from fin_qlora.training.running.processes import check_world, use_cores

LAUNCHED = "ACCELERATE_MIXED_PRECISION"


@pytest.fixture
def threads(monkeypatch):
    """What torch was told, on a machine of eight cores without a GPU."""
    told = []
    monkeypatch.setattr(processes, "cores", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    for name in (LAUNCHED, "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return told


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 8),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3"}, 3),
        # accelerate launch sets 1 where the user has set nothing
        ({"OMP_NUM_THREADS": "1", LAUNCHED: "no"}, 8),
        ({"OMP_NUM_THREADS": "3", LAUNCHED: "no"}, 3),
        ({"OMP_NUM_THREADS": "1", LAUNCHED: "no", "LOCAL_WORLD_SIZE": "2"}, 4),
        # and for several processes on processors all cores of the host, ours or not
        ({"OMP_NUM_THREADS": "32", LAUNCHED: "no", "LOCAL_WORLD_SIZE": "2"}, 4),
        ({"LOCAL_WORLD_SIZE": "16"}, 1),
    ],
)
def test_the_threads_of_a_process(threads, monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    use_cores()
    assert threads == [expected]


def test_a_number_in_the_recipe_has_the_last_word(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    use_cores(5)
    assert threads == [5]


def test_with_a_gpu_nothing_is_touched(threads, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    use_cores(5)
    assert threads == []


def test_processes_that_did_not_find_one_another_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2)
    with pytest.raises(EnvironmentFault, match="started 2 processes"):
        check_world(1)
