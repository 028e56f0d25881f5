"""One process of the trials of 0/1 Adam: zero_one_processes.py FOLDER. Results go to RANK.pt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from fin_qlora.errors import FinQloraError
from fin_qlora.training.optimizers.one_bit import Layout, OneBitAverage
from fin_qlora.training.optimizers.zero_one_adam import ZeroOneAdam

STEPS = 200
FREEZE = 50
NEVER = 10**9


def model(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A model like a LoRA pair: the first matrix has no gradient until the second has moved."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Linear(20, 250), torch.nn.Tanh(), torch.nn.Linear(250, 7, bias=False)
    )
    torch.nn.init.zeros_(layers[2].weight)
    return layers.to(dtype)


def rows(step: int, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step * 100 + rank)
    inputs = torch.randn(8, 20, generator=generator)
    return inputs, torch.tanh(inputs[:, :7] + 0.5 * inputs[:, 7:14])


def train(
    optimizer_of: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
    *,
    own: bool,
    dtype: torch.dtype = torch.float32,
    steps: range = range(STEPS),
    start: dict | None = None,
    watch: Callable[[int, ZeroOneAdam], None] = lambda step, optimizer: None,
) -> dict:
    """Train on this rank's rows, or (``own`` false) on those of all ranks."""
    net = model(dtype)
    parameters = list(net.parameters())
    optimizer = optimizer_of(parameters)
    if start is not None:
        optimizer.load_state_dict(start["optimizer"])
        if dist.get_rank() != start["optimizer"]["zero_one"]["rank"]:
            optimizer.load_own_state(start["own"][dist.get_rank()])
    ranks = [dist.get_rank()] if own else range(dist.get_world_size())
    losses = []
    for step in steps:
        for group in optimizer.param_groups:  # warm-up from zero, then a decline
            group["lr"] = 1e-2 * min(1.0, step / 10) * (1 - step / STEPS)
        optimizer.zero_grad()
        parts = []
        for rank in ranks:
            inputs, targets = rows(step, rank)
            parts.append((net(inputs.to(dtype)) - targets).float().square().mean())
        loss = sum(parts) / len(parts)
        loss.backward()
        if not own:
            torch.nn.utils.clip_grad_norm_(parameters, 0.2)
        optimizer.step()
        losses.append(loss.item())
        watch(step, optimizer)
    return {
        "losses": losses,
        "weights": [p.detach().clone() for p in parameters],
        "optimizer": optimizer,
    }


def zero_one(**settings: object) -> Callable[[list[torch.nn.Parameter]], ZeroOneAdam]:
    def make(parameters: list[torch.nn.Parameter]) -> ZeroOneAdam:
        return ZeroOneAdam(
            # two groups, as transformers makes them
            [
                {"params": parameters[:1], "weight_decay": 0.1},
                {"params": parameters[1:], "weight_decay": 0.0},
            ],
            max_grad_norm=0.2,
            **{"var_freeze_step": FREEZE, "local_step_scaler": 40, "local_step_clipper": 4}
            | settings,
        )

    return make


def adamw(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [
            {"params": parameters[:1], "weight_decay": 0.1},
            {"params": parameters[1:], "weight_decay": 0.0},
        ]
    )


def compressed_average() -> dict:
    """Average numbers of all ranks, some of which are alike, and see what both sides owe."""
    world, rank = dist.get_world_size(), dist.get_rank()
    layout = Layout([70, 256, 3], world=world, rank=rank, device=torch.device("cpu"))
    average = OneBitAverage(layout)
    alike = layout.matrix()
    for number, view in enumerate(layout.views(alike, [torch.Size([n]) for n in layout.sizes])):
        view.fill_(0.1 * (number + 1)).view(-1)[::2] *= -1
    exact = average(alike)
    owed_for_alike = float(average.worker_error.abs().max() + average.server_error.abs().max())

    given, answered = layout.matrix(), layout.matrix()
    for step in range(40):
        torch.manual_seed(step * world + rank)
        value = torch.randn_like(given)
        layout.tensors.clear_padding(value)
        given += value
        answered += average(value)
    return {
        "alike": alike,
        "exact": exact,
        "owed_for_alike": owed_for_alike,
        "given": given,
        "answered": answered,
        "worker_error": average.worker_error,
        "server_error": average.server_error,
        "sent": average.sent_bytes,
        "message_bytes": layout.message_bytes,
    }


def stopped_and_resumed() -> dict:
    """Train with a pause in the middle of a local interval, and without one."""
    kept: dict = {}

    def keep(step: int, optimizer: ZeroOneAdam) -> None:
        if step == 150:
            kept["optimizer"] = optimizer.state_dict()
            kept["own"] = optimizer.own_states()

    whole = train(zero_one(), own=True, watch=keep)
    # what a checkpoint holds: the optimizer of the first rank, and what is every rank's own
    shared = [kept["optimizer"]]
    dist.broadcast_object_list(shared, src=0)
    start = {"optimizer": shared[0], "own": kept["own"]}
    # by the schedule of the checkpoint, also where that of a longer run would be another
    longer = zero_one(var_freeze_step=NEVER, local_step_scaler=7, local_step_clipper=16)
    resumed = train(longer, own=True, steps=range(151, STEPS), start=start)
    forgotten, other = "", ""
    try:
        optimizer = zero_one()(list(model().parameters()))
        optimizer.load_state_dict(shared[0] | {"zero_one": shared[0]["zero_one"] | {"rank": -1}})
        optimizer.step()
    except FinQloraError as error:
        forgotten = str(error)
    try:
        optimizer = zero_one()(list(model().parameters()))
        optimizer.load_state_dict(shared[0] | {"zero_one": shared[0]["zero_one"] | {"world": 3}})
    except FinQloraError as error:
        other = str(error)
    return {
        "interval": kept["optimizer"]["zero_one"]["steps"]
        - kept["optimizer"]["zero_one"]["averaged_at"],
        "whole": (whole["losses"][151:], whole["weights"]),
        "resumed": (resumed["losses"], resumed["weights"]),
        "forgotten": forgotten,
        "other_world": other,
    }


def looked_at() -> dict:
    """Show the average now and then, as evaluations do, and go on."""
    shown: list[list[torch.Tensor]] = []
    apart: list[list[torch.Tensor]] = []

    def look(step: int, optimizer: ZeroOneAdam) -> None:
        if step in (30, 156, 157, 158, 159):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            apart.append([p.detach().clone() for p in parameters])
            optimizer.eval()
            shown.append([p.detach().clone() for p in parameters])
            optimizer.train()
            assert all(p.equal(q) for p, q in zip(parameters, apart[-1], strict=True))

    with_looks = train(zero_one(), own=True, watch=look)
    without = train(zero_one(), own=True)
    return {
        "shown": shown,
        "apart": apart,
        "with": with_looks["weights"],
        "without": without["weights"],
    }


def ignored_first_call() -> dict:
    parameters = list(model().parameters())
    optimizer = zero_one()(parameters)
    before = [p.detach().clone() for p in parameters]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    ignored = optimizer.steps
    if dist.get_rank() == 0:  # one rank without a gradient takes part all the same
        for parameter in parameters:
            parameter.grad = None
    else:
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
    called = []
    optimizer.step(lambda: called.append(torch.is_grad_enabled()) or 3.0)
    return {
        "ignored": ignored,
        "counted": optimizer.steps,
        "closure": called,
        "before": before,
        "after": [p.detach() for p in parameters],
    }


def frozen_traffic() -> dict:
    at: dict[int, tuple[int, int, int]] = {}

    def note(step: int, optimizer: ZeroOneAdam) -> None:
        traffic = optimizer.traffic
        at[optimizer.steps] = (
            traffic.dense_bytes,
            traffic.one_bit_bytes,
            traffic.every_gradient_bytes,
        )

    rarely = zero_one(local_step_clipper=1, var_update_scaler=4)
    state = train(rarely, own=True, watch=note)["optimizer"].state_dict()["zero_one"]
    return {"at": at, "frozen_at": state["frozen_at"], "refreshments": state["refreshments"]}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found = {
        "compressed": compressed_average(),
        "adamw": train(adamw, own=False),
        "dense": train(zero_one(var_freeze_step=NEVER, var_update_scaler=NEVER), own=True),
        "bf16": train(
            zero_one(var_freeze_step=NEVER, var_update_scaler=NEVER), own=True, dtype=torch.bfloat16
        ),
        "zero_one": train(zero_one(), own=True),
        "reference": train(zero_one(bias_correction=False), own=True),
        "resumed": stopped_and_resumed(),
        "looked_at": looked_at(),
        "first_call": ignored_first_call(),
        "traffic": frozen_traffic(),
    }
    for name in ("adamw", "dense", "bf16", "zero_one", "reference"):
        del found[name]["optimizer"]
    torch.save(found, folder / f"{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
