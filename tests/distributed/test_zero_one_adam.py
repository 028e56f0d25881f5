"""0/1 Adam on two and on four processes: dense it is AdamW, compressed it owes what it loses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).resolve().parent
TORCHRUN = str(Path(sys.executable).with_name("torchrun"))


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory) -> list[dict]:
    """What every rank found in the trials of zero_one_processes.py."""
    folder = tmp_path_factory.mktemp("ranks")
    program = str(HERE / "zero_one_processes.py")
    done = subprocess.run(
        [
            *(TORCHRUN, "--nproc_per_node", str(request.param), "--master_port", "0"),
            *("--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", program, str(folder)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


def test_what_is_of_one_size_crosses_unharmed(ranks):
    for found in (rank["compressed"] for rank in ranks):
        assert found["exact"].equal(found["alike"])
        assert found["owed_for_alike"] == 0


def test_every_rank_gets_one_answer_and_nothing_is_lost_for_good(ranks):
    found = [rank["compressed"] for rank in ranks]
    world = len(ranks)
    assert all(one["answered"].equal(found[0]["answered"]) for one in found)
    given = sum(one["given"] for one in found) / world
    owed = sum(one["worker_error"] for one in found) / world
    owed = owed + torch.cat([one["server_error"] for one in found])
    torch.testing.assert_close(found[0]["answered"] + owed, given, atol=1e-4, rtol=0)
    assert owed.norm() < 0.5 * given.norm(), "it is little beside what was sent"
    for one in found:
        assert one["sent"] == 41 * 2 * (world - 1) * one["message_bytes"]


def test_dense_at_every_step_it_is_adamw(ranks):
    """With clipping by the norm of the averaged gradient, decay, groups and a warm-up from 0."""
    for found in ranks:
        for ours, theirs in zip(found["dense"]["weights"], found["adamw"]["weights"], strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=2e-5)


def test_bf16_parameters_have_float32_masters(ranks):
    exact, rounded = ranks[0]["dense"]["weights"], ranks[0]["bf16"]["weights"]
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        apart = (ours.float() - theirs).abs().max()
        assert apart < 0.1 * theirs.abs().max(), "small updates would be rounded away"


@pytest.mark.parametrize("trial", ["zero_one", "reference"])
def test_it_learns_like_adamw(ranks, trial):
    def last(name: str) -> float:
        return sum(sum(rank[name]["losses"][-20:]) for rank in ranks) / 20 / len(ranks)

    first = sum(rank["adamw"]["losses"][0] for rank in ranks) / len(ranks)
    assert last("adamw") < 0.7 * first
    assert last(trial) < last("adamw") + 0.1 * (first - last("adamw"))


def test_a_resumed_run_is_the_run_to_the_bit(ranks):
    for found in (rank["resumed"] for rank in ranks):
        assert found["interval"] > 0, "the pause is in the middle of an interval"
        assert found["resumed"][0] == found["whole"][0]
        for ours, theirs in zip(found["resumed"][1], found["whole"][1], strict=True):
            assert ours.equal(theirs)


def test_a_state_that_is_not_this_processs_is_refused(ranks):
    for number, found in enumerate(rank["resumed"] for rank in ranks):
        assert f"state of process {number} was not loaded" in found["forgotten"]
        assert f"is of 3 processes, this run has {len(ranks)}" in found["other_world"]


def test_an_evaluation_sees_one_average_and_changes_nothing(ranks):
    found = [rank["looked_at"] for rank in ranks]
    apart = []
    for look in range(5):
        for tensor in range(3):
            own = [one["apart"][look][tensor] for one in found]
            shown = [one["shown"][look][tensor] for one in found]
            assert all(one.equal(shown[0]) for one in shown)
            torch.testing.assert_close(shown[0], sum(own) / len(own), atol=1e-6, rtol=1e-5)
        apart.append(not own[0].equal(own[1]))
    assert not apart[0], "before the freeze all have one set of weights"
    assert sum(apart[1:]) == 3, "then only every fourth step"
    for one in found:
        assert all(a.equal(b) for a, b in zip(one["with"], one["without"], strict=True))


def test_a_first_call_without_gradients_is_ignored(ranks):
    for found in (one["first_call"] for one in ranks):
        assert (found["ignored"], found["counted"]) == (0, 1)
        assert found["closure"] == [True]
        for before, after in zip(found["before"], found["after"], strict=True):
            assert not before.equal(after)
    first = [one["first_call"]["after"] for one in ranks]
    assert all(a.equal(b) for other in first for a, b in zip(other, first[0], strict=True))


def test_it_freezes_late_enough_and_then_sends_little(ranks):
    for found in (rank["traffic"] for rank in ranks):
        at, frozen = found["at"], found["frozen_at"]
        assert found["refreshments"] == 20
        assert frozen > 50, "at step 50, where it was to freeze, the variance is still too rough"
        dense, bits, every = (at[max(at)][n] - at[frozen][n] for n in range(3))
        assert at[frozen][0] > 0
        assert dense == 0
        assert 0 < bits <= every / 10
