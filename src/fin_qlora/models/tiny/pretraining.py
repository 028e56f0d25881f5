"""The training loop of the tiny base: packed windows, Muon and AdamW, a warm-up and a cosine."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from .rows import RowMaker, TokenRow

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train."""

    steps: int
    windows_a_step: int = 12
    window: int = 256
    learning_rate: float = 5e-3
    warm_up: int = 60
    weight_decay: float = 0.05


@dataclass(frozen=True)
class Outcome:
    """What the training saw and reached."""

    tokens: int
    rows: int
    seconds: float
    final_loss: float


@dataclass(frozen=True)
class Batch:
    """Packed rows: ids, positions, weights (windows, length); mask (windows, 1, length, length)."""

    ids: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    mask: torch.Tensor


def pack(windows: list[list[TokenRow]], length: int, padding: int) -> Batch:
    """Lay windows side by side so that no row sees its neighbour."""
    ids = torch.full((len(windows), length), padding)
    positions = torch.zeros_like(ids)
    weights = torch.zeros(len(windows), length)
    owner = torch.full((len(windows), length), -1)
    for w, window in enumerate(windows):
        at = 0
        for number, row in enumerate(window):
            stop = at + len(row.ids)
            ids[w, at:stop] = torch.tensor(row.ids)
            weights[w, at:stop] = torch.tensor(row.weights)
            positions[w, at:stop] = torch.arange(len(row.ids))
            owner[w, at:stop] = number
            at = stop
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = (owner[:, :, None] == owner[:, None, :]) & causal
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.bfloat16).min)
    return Batch(ids, positions, weights, mask[:, None])


def weighted_loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy over the tokens of a batch, each by its weight."""
    hidden = model.model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        attention_mask=batch.mask,
        use_cache=False,
    ).last_hidden_state
    targets, weights = batch.ids[:, 1:].flatten(), batch.weights[:, 1:].flatten()
    kept = weights.nonzero()[:, 0]
    logits = model.lm_head(hidden[:, :-1].flatten(0, 1)[kept]).float()
    losses = functional.cross_entropy(logits, targets[kept], reduction="none")
    return (losses * weights[kept]).sum() / weights.sum()


def _rate(plan: Plan, step: int) -> float:
    if step < plan.warm_up:
        return plan.learning_rate * (step + 1) / plan.warm_up
    done = (step - plan.warm_up) / max(1, plan.steps - plan.warm_up)
    return plan.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def _optimizers(model: LlamaForCausalLM, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the embeddings and the norms."""
    layers = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    embeddings = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" in n]
    norms = [p for p in model.parameters() if p.ndim == 1]
    return [
        torch.optim.Muon(
            layers,
            lr=plan.learning_rate,
            weight_decay=plan.weight_decay,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(
            [
                {"params": embeddings, "weight_decay": plan.weight_decay},
                {"params": norms, "weight_decay": 0.0},
            ],
            lr=plan.learning_rate,
            betas=(0.9, 0.95),
            fused=True,
        ),
    ]


def _batches(maker: RowMaker, plan: Plan, padding: int) -> Iterator[tuple[Batch, int]]:
    windows = maker.windows(plan.window)
    while True:
        drawn = [next(windows) for _ in range(plan.windows_a_step)]
        yield pack(drawn, plan.window, padding), sum(len(window) for window in drawn)


def pretrain(model: LlamaForCausalLM, maker: RowMaker, plan: Plan, *, padding: int) -> Outcome:
    """Train `model` in place for `plan.steps` steps and print the loss as it falls."""
    optimizers = _optimizers(model, plan)
    model.train()
    begun = time.perf_counter()
    tokens = rows = 0
    average = 0.0
    batches = _batches(maker, plan, padding)
    for step in range(plan.steps):
        batch, count = next(batches)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = _rate(plan, step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = weighted_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        tokens += int((batch.positions > 0).sum()) + count
        rows += count
        average = loss.item() if step == 0 else 0.98 * average + 0.02 * loss.item()
        if step % 50 == 49 or step + 1 == plan.steps:
            seconds = time.perf_counter() - begun
            print(
                f"step {step + 1}/{plan.steps} loss {average:.3f} "
                f"{tokens / seconds:.0f} tokens/s {seconds:.0f} s",
                flush=True,
            )
    model.eval()
    return Outcome(tokens, rows, time.perf_counter() - begun, average)
