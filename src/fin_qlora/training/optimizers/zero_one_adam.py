"""0/1 Adam: Adam whose processes rarely talk, and then mostly in single bits (arXiv 2202.06009).

Until the variance is frozen, it is refreshed from gradients that are averaged in full, at steps
that grow apart; at the other steps what a process would move is averaged with one bit for each
number. After that every process trains on its own for a few steps, and what it moved is averaged
so.

What differs from the paper, and why:

- A process keeps its momentum; in the paper the compressed average takes its place. The mean of the
  processes' momenta is the momentum of the averaged gradient as it is, so that what compression
  loses need not enter it: it only delays, by what each process owes, what is moved.
- A scale belongs to one tensor, not to all numbers together: the matrix A of a LoRA pair has no
  gradient at the first step, and a common scale would move it by far too much.
- What is compressed is the step that was moved (momentum over the root of the variance), not the
  momentum. The variance is the same on all processes, so that the average is the same too, but
  steps are all of about one size, and no number of little variance is moved far by its tensor's
  scale.
- At a step that refreshes the variance all take the same step, with the averaged gradient, which is
  at hand; their momenta are averaged in full before. When every step is one, this is AdamW.
- A refreshment counts in the variance for all steps since the last one. In the paper each counts as
  one step, so that the first steps, whose gradients are the largest, outweigh the later ones.
- Momentum and variance may be corrected for their start at zero, as in Adam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from ...errors import AdapterMismatchError, UsageError
from .one_bit import Layout, OneBitAverage

#: A variance of fewer averaged gradients is too rough to be kept for the rest of a run.
LEAST_VARIANCE_UPDATES = 20

#: What says when something is averaged: a run that is resumed keeps it, however long it has become.
_SCHEDULE = ("var_freeze_step", "var_update_scaler", "local_step_scaler", "local_step_clipper")


@dataclass(frozen=True)
class Traffic:
    """Bytes that this process has sent, and what averaging every gradient would have sent."""

    dense_bytes: int
    one_bit_bytes: int
    every_gradient_bytes: int


class ZeroOneAdam(torch.optim.Optimizer):
    """Adam with frozen variance, local steps and one-bit averages, for two or more processes.

    Gradients must be each process's own: neither DDP nor DeepSpeed may average them. Between
    averages the processes hold different weights; ``eval()`` puts the average into the model,
    to the bit the same on every process, and ``train()`` takes a process back to its own.
    transformers' Trainer calls both. Weights belong to the optimizer from the first step on: it
    keeps them in float32 and overwrites what others write into them.

    Args:
        params: parameters or groups of them; ``lr``, ``betas``, ``eps`` and ``weight_decay`` may
            differ by group.
        lr: step size.
        betas: decay of momentum and variance at each step.
        eps: added to the root of the variance.
        weight_decay: decoupled from the gradient, as in AdamW.
        var_freeze_step: the last step at which the variance may be refreshed; refreshing goes on
            until it has happened 20 times.
        var_update_scaler: after so many refreshments the interval between them doubles.
        local_step_scaler: after so many steps with a frozen variance the interval between averages
            doubles.
        local_step_clipper: the longest that the interval gets.
        bias_correction: whether to correct for the start at zero.
        max_grad_norm: longer gradients are shortened to this norm, 0 for never. At refreshments
            that is the norm of the averaged gradient; at other steps nobody knows that one, and it
            is estimated from a process's own by the ratio of the two at the last refreshment.
        group: the processes; all of them when None.

    Raises:
        UsageError: there is only one process, or a setting is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        var_freeze_step: int = 1000,
        var_update_scaler: int = 16,
        local_step_scaler: int = 1000,
        local_step_clipper: int = 16,
        bias_correction: bool = True,
        max_grad_norm: float = 0.0,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if not dist.is_initialized() or dist.get_world_size(group) < 2:
            raise UsageError(
                "0/1 Adam saves traffic between processes, and there is only one.",
                fix="Use optim 'adamw_torch', or set zero_one_single_process to 'adamw'.",
            )
        for name, value, least in (
            ("var_freeze_step", var_freeze_step, 1),
            ("var_update_scaler", var_update_scaler, 1),
            ("local_step_scaler", local_step_scaler, 1),
            ("local_step_clipper", local_step_clipper, 1),
            ("max_grad_norm", max_grad_norm, 0),
        ):
            if value < least:
                raise UsageError(f"{name} is {value}.", fix=f"Use {least} or more.")
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        self.var_freeze_step = var_freeze_step
        self.var_update_scaler = var_update_scaler
        self.local_step_scaler = local_step_scaler
        self.local_step_clipper = local_step_clipper
        self.bias_correction = bias_correction
        self.max_grad_norm = max_grad_norm
        self.after_write: Callable[[], None] | None = None
        self._group = group
        self._world, self._rank = dist.get_world_size(group), dist.get_rank(group)
        self._layout: Layout | None = None
        self._steps = 0
        self._refreshments = 0
        self._refreshed_at = 0
        self._frozen_at: int | None = None
        self._averaged_at = 0
        self._rates: list[float] = []
        self._dense_bytes = 0
        self._own_is_missing = False
        self._shows_average = False

    # ------------------------------------------------------------------------------------ stepping

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; every process must. A first call with no gradient at all is ignored.

        (DeepSpeed's 16-bit wrapper makes such a call before training begins.)
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._layout is None:
            if not self._any_gradient():
                return loss
            self._build()
        if self._own_is_missing:
            raise AdapterMismatchError(
                f"The checkpoint's state of process {self._rank} was not loaded.",
                fix="Load it with load_own_state.",
            )
        self._shows_average = False
        self._gather_gradients()
        self._steps += 1
        if self._frozen_at is None and (
            self._steps > self.var_freeze_step and self._refreshments >= LEAST_VARIANCE_UPDATES
        ):
            self._frozen_at = self._steps - 1
        if self._frozen_at is None and self._steps == self._next_refreshment():
            self._refreshing_step()
        else:
            self._own_step()
            if self._steps - self._averaged_at >= self.interval:
                self._average()
        self._write_own_weights()
        return loss

    @property
    def interval(self) -> int:
        """Steps from one average of the processes to the next."""
        if self._frozen_at is None:
            return 1
        doubled = (self._steps - self._frozen_at) // self.local_step_scaler
        return int(min(2 ** min(doubled, 30), self.local_step_clipper))

    @property
    def frozen(self) -> bool:
        """Whether the variance is kept from now on."""
        return self._frozen_at is not None

    @property
    def steps(self) -> int:
        """Steps taken."""
        return self._steps

    @property
    def norm_ratio(self) -> torch.Tensor | float:
        """The norm of the averaged gradient over a process's own, at the last refreshment."""
        return self._norm_ratio if self._layout is not None else 1.0

    @property
    def traffic(self) -> Traffic:
        """What this process has sent until now."""
        if self._layout is None:
            return Traffic(0, 0, 0)
        return Traffic(
            dense_bytes=self._dense_bytes,
            one_bit_bytes=self._one_bit.sent_bytes,
            every_gradient_bytes=self._steps * self._reduced_bytes(sum(self._layout.sizes)),
        )

    def _refreshing_step(self) -> None:
        """Average the gradient in full, and step as Adam does."""
        mean_square = self._gradient.norm().square()
        self._all_reduce(mean_square)
        self._all_reduce(self._gradient)
        norm = self._gradient.norm()
        self._norm_ratio = norm / mean_square.sqrt().clamp(min=1e-30)
        self._clip(norm)
        passed = self._steps - self._refreshed_at
        if passed > 1:  # else all have the same
            self._all_reduce(self._momentum)
        self._refreshed_at = self._steps
        self._refreshments += 1
        self._averaged_at = self._steps
        for group, rows in self._groups():
            beta1, beta2 = group["betas"]
            gradient, momentum = self._gradient[rows], self._momentum[rows]
            momentum.lerp_(gradient, 1 - beta1)
            kept = beta2**passed
            self._variance[rows].mul_(kept).addcmul_(gradient, gradient, value=1 - kept)
            correction = 1 - beta2**self._steps if self.bias_correction else 1.0
            root = self._variance[rows].sqrt().div_(math.sqrt(correction))
            self._root[rows] = root.add_(group["eps"])
            self._decay(group, rows)
            self._weights[rows].addcdiv_(momentum, self._root[rows], value=-self._rate(group))

    def _own_step(self) -> None:
        """Let this process's momentum take its own gradient, and note what that moves."""
        self._clip(self._norm_ratio * self._gradient.norm())
        for number, (group, rows) in enumerate(self._groups()):
            rate = self._rate(group)
            momentum = self._momentum[rows]
            momentum.lerp_(self._gradient[rows], 1 - group["betas"][0])
            self._moved[rows].add_(momentum, alpha=rate)
            self._rates[number] += rate
            self._decay(group, rows)

    def _average(self) -> None:
        """Average with one bit for each number what the processes moved."""
        steps = self._moved / self._root
        for rate, (_, rows) in zip(self._rates, self._groups(), strict=True):
            steps[rows] /= rate or 1.0  # while the learning rate is zero nothing moves
        steps = self._one_bit(steps)
        for rate, (_, rows) in zip(self._rates, self._groups(), strict=True):
            self._weights[rows].sub_(steps[rows], alpha=rate)
        self._moved.zero_()
        self._rates = [0.0] * len(self._rates)
        self._averaged_at = self._steps

    def _next_refreshment(self) -> int:
        return self._refreshed_at + 2 ** min(self._refreshments // self.var_update_scaler, 30)

    def _rate(self, group: dict[str, Any]) -> float:
        correction = 1 - group["betas"][0] ** self._steps if self.bias_correction else 1.0
        return float(group["lr"]) / float(correction)

    def _decay(self, group: dict[str, Any], rows: slice) -> None:
        if group["weight_decay"]:
            self._weights[rows].mul_(1 - float(group["lr"]) * group["weight_decay"])

    def _clip(self, norm: torch.Tensor) -> None:
        if self.max_grad_norm:
            self._gradient.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1))

    # ------------------------------------------------------------------- one set of weights for all

    def force_sync(self) -> None:
        """Put the average of the processes' weights into the model; every process must call it.

        The processes go on from their own weights all the same: neither an evaluation nor a
        checkpoint changes what is trained.
        """
        if self._layout is None or self._shows_average:
            return
        moved = self._moved
        if self._averaged_at != self._steps:
            moved = moved.clone()
            self._all_reduce(moved)
        self._write(moved)
        self._shows_average = True

    def eval(self) -> None:
        """Do ``force_sync``, under the name by which trainers call it before an evaluation."""
        self.force_sync()

    def train(self) -> None:
        """Go back to this process's own weights."""
        if self._shows_average:
            self._write_own_weights()
            self._shows_average = False

    def _write_own_weights(self) -> None:
        self._write(self._moved)

    def _write(self, moved: torch.Tensor) -> None:
        torch.addcdiv(self._weights, moved, self._root, value=-1, out=self._shown)
        with torch.no_grad():
            torch._foreach_copy_(self._parameters(), self._shown_views)
        if self.after_write is not None:
            self.after_write()

    # --------------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Return the state of this process: what all share, and what is its own."""
        found: dict[str, Any] = super().state_dict()
        found["zero_one"] = None
        if self._layout is not None:
            found["zero_one"] = {
                "world": self._world,
                "sizes": self._layout.sizes,
                "schedule": {name: getattr(self, name) for name in _SCHEDULE},
                "steps": self._steps,
                "refreshments": self._refreshments,
                "refreshed_at": self._refreshed_at,
                "frozen_at": self._frozen_at,
                "averaged_at": self._averaged_at,
                "norm_ratio": self._norm_ratio.clone(),
                "rates": list(self._rates),
                "dense_bytes": self._dense_bytes,
                "one_bit_bytes": self._one_bit.sent_bytes,
                "weights": self._weights.clone(),
                "variance": self._variance.clone(),
                "root": self._root.clone(),
                "rank": self._rank,
                "own": self._own().clone(),
            }
        return found

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state and by its schedule; that of another process needs ``load_own_state``.

        Raises UsageError when it was written by another number of processes, and
        AdapterMismatchError when it is of other parameters.
        """
        ours = state_dict.get("zero_one")
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        if ours is None:
            return
        if ours["world"] != self._world:
            raise UsageError(
                f"The checkpoint of 0/1 Adam is of {ours['world']} processes, this run has "
                f"{self._world}: each has a state of its own.",
                fix=f"Resume with {ours['world']} processes, or begin a new run from the adapter.",
            )
        self._build()
        assert self._layout is not None
        if ours["sizes"] != self._layout.sizes:
            raise AdapterMismatchError(
                "The checkpoint's optimizer is of other parameters than this model's.",
                fix="Resume with the adapter settings of the run.",
            )
        for name in _SCHEDULE:
            setattr(self, name, ours["schedule"][name])
        self._steps = ours["steps"]
        self._refreshments = ours["refreshments"]
        self._refreshed_at = ours["refreshed_at"]
        self._frozen_at = ours["frozen_at"]
        self._averaged_at = ours["averaged_at"]
        self._rates = list(ours["rates"])
        self._dense_bytes = ours["dense_bytes"]
        self._one_bit.sent_bytes = ours["one_bit_bytes"]
        for name in ("weights", "variance", "root", "norm_ratio"):
            getattr(self, f"_{name}").copy_(ours[name])
        if ours["rank"] == self._rank:
            self.load_own_state(ours["own"])
        else:
            self._own_is_missing = True

    def own_states(self, *, keep: bool = True) -> list[torch.Tensor]:
        """Return what is each process's own, on the CPU, in the order of ranks; all must call it.

        Empty before the first step, and where a process does not ``keep`` them.
        """
        if self._layout is None:
            return []
        found = []
        for rank in range(self._world):
            own = self._own() if rank == self._rank else torch.empty_like(self._own())
            dist.broadcast(own, group_src=rank, group=self._group)
            if keep:
                found.append(own.cpu())
        return found

    @torch.no_grad()
    def load_own_state(self, own: torch.Tensor) -> None:
        """Take one of ``own_states``: that of this process."""
        parts = self._own_parts()
        pieces = own.to(parts[0].device).split([part.numel() for part in parts])
        for part, piece in zip(parts, pieces, strict=True):
            part.copy_(piece.view_as(part))
        self._own_is_missing = False
        self._write_own_weights()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters before the first step. Raises UsageError after it."""
        if getattr(self, "_layout", None) is not None:
            raise UsageError("0/1 Adam takes no parameters after its first step.")
        super().add_param_group(param_group)

    def _own_parts(self) -> list[torch.Tensor]:
        return [
            self._momentum,
            self._moved,
            self._one_bit.worker_error,
            self._one_bit.server_error,
        ]

    def _own(self) -> torch.Tensor:
        return torch.cat([part.reshape(-1) for part in self._own_parts()])

    # -------------------------------------------------------------------------------------- inside

    def _parameters(self) -> list[torch.Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _any_gradient(self) -> bool:
        parameters = self._parameters()
        found = any(p.grad is not None and bool(p.grad.any()) for p in parameters)
        flag = torch.tensor([int(found)], device=parameters[0].device)
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self._group)
        return bool(flag.item())

    def _build(self) -> None:
        """Lay the parameters out; late, since DeepSpeed replaces them by its float32 copies."""
        parameters = self._parameters()
        shapes = [parameter.shape for parameter in parameters]
        self._layout = layout = Layout(
            [parameter.numel() for parameter in parameters],
            world=self._world,
            rank=self._rank,
            device=parameters[0].device,
        )
        self._one_bit = OneBitAverage(layout, group=self._group)
        self._weights, self._gradient = layout.matrix(), layout.matrix()
        self._momentum, self._variance = layout.matrix(), layout.matrix()
        self._moved, self._shown = layout.matrix(), layout.matrix()
        self._root = layout.matrix() + 1
        self._norm_ratio = torch.ones((), device=layout.device)
        self._gradient_views = layout.views(self._gradient, shapes)
        self._shown_views = layout.views(self._shown, shapes)
        self._rates = [0.0] * len(self.param_groups)
        torch._foreach_copy_(layout.views(self._weights, shapes), parameters)

    def _gather_gradients(self) -> None:
        gradients = []
        for parameter, view in zip(self._parameters(), self._gradient_views, strict=True):
            gradients.append(view.zero_() if parameter.grad is None else parameter.grad)
        torch._foreach_copy_(self._gradient_views, gradients)

    def _groups(self) -> list[tuple[dict[str, Any], slice]]:
        """Return each group with its rows."""
        assert self._layout is not None
        found, tensor = [], 0
        starts = [*self._layout.starts, self._layout.rows]
        for number, group in enumerate(self.param_groups):
            after = tensor + len(group["params"])
            last = number + 1 == len(self.param_groups)
            found.append((group, slice(starts[tensor], starts[-1 if last else after])))
            tensor = after
        return found

    def _all_reduce(self, values: torch.Tensor) -> None:
        """Put the mean over the processes in place of ``values``."""
        dist.all_reduce(values, group=self._group)
        values /= self._world
        self._dense_bytes += self._reduced_bytes(values.numel())

    def _reduced_bytes(self, numbers: int) -> int:
        """Return what a process sends when so many float32 numbers are summed in a ring."""
        return 2 * (self._world - 1) * 4 * numbers // self._world
