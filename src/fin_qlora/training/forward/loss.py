"""The loss of trained tokens, what is logged of it, and how tasks weigh in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ...errors import DataError, UsageError
from ...prompts.contract import IGNORED

if TYPE_CHECKING:
    from accelerate import Accelerator

#: Predictions whose float32 logits exist at the same time.
CHUNK = 1024
#: Where a tally has its tokens.
_TOKENS = 3


class TokenFigures(NamedTuple):
    """What is known of each prediction, each (predictions,), float32; only losses have gradients.

    ``losses`` and ``entropies`` are in nats; ``correct`` is 1 where the likeliest token is right.
    """

    losses: torch.Tensor
    entropies: torch.Tensor
    correct: torch.Tensor


def token_figures(logits: torch.Tensor, targets: torch.Tensor) -> TokenFigures:
    """Return cross-entropy, entropy and correctness of each prediction.

    It computes in float32, a part of the rows at a time; besides the logits it keeps nothing of
    their size.

    Args:
        logits: (predictions, vocabulary).
        targets: (predictions,).
    """
    return TokenFigures(*_TokenFigures.apply(logits, targets))  # type: ignore[no-untyped-call]


class _TokenFigures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.save_for_backward(logits, targets)
        parts = []
        for part, wanted in zip(logits.split(CHUNK), targets.split(CHUNK), strict=True):
            logarithms = part.float().log_softmax(-1)
            losses = -logarithms.gather(-1, wanted[:, None])[:, 0]
            entropies = -(logarithms.exp() * logarithms).sum(-1)
            parts.append((losses, entropies, (part.argmax(-1) == wanted).float()))
        losses, entropies, correct = map(torch.cat, zip(*parts, strict=True))
        ctx.mark_non_differentiable(entropies, correct)
        return losses, entropies, correct

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, targets = ctx.saved_tensors
        result = torch.empty_like(logits)
        for part, wanted, weight, into in zip(
            *(t.split(CHUNK) for t in (logits, targets, gradients[0], result)), strict=True
        ):
            shares = part.float().softmax(-1)
            shares.scatter_add_(-1, wanted[:, None], torch.full_like(shares[:, :1], -1.0))
            into.copy_(shares * weight[:, None])
        return result, None


def require_answers(labels: torch.Tensor, *, step: int, rank: int) -> None:
    """Raise DataError when a batch has nothing to train: its loss would be 0, or 0 / 0."""
    if not bool((labels[:, 1:] != IGNORED).any()):
        raise DataError(
            f"No token of a batch of step {step + 1}, process {rank}, is trained: every label is "
            f"{IGNORED}, or stands at the first token, which nothing predicts.",
            fix="Look at the labels that the data collator makes: every row needs an answer.",
        )


def without_answers(inputs: Mapping[str, torch.Tensor]) -> bool:
    """Return whether nothing in a batch is trained."""
    return not bool((inputs["labels"][..., 1:] != IGNORED).any())


def with_an_answer(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a batch without answers with the last token of its longest row as one.

    What is computed of it counts nothing; it is computed because other processes wait for it.
    """
    labels, mask = inputs["labels"].clone(), inputs.get("attention_mask")
    row, last = 0, labels.shape[1] - 1
    if mask is not None and mask.ndim == 2:
        row = int(mask.sum(1).argmax())
        last = int(mask[row].nonzero().max())
    labels[row, last] = inputs["input_ids"][row, last]
    return {**inputs, "labels": labels}


def refuse_weights(weights: object) -> None:
    """Raise UsageError when tasks have weights where the loss is not ours to weigh."""
    if weights is not None:
        raise UsageError(
            "task_weights is set, and so is another loss: loss_type, label smoothing, a loss "
            "function or a router's.",
            fix="Leave one of them out.",
        )


def tokens_in(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return how many tokens a batch has, padding left out."""
    mask = inputs.get("attention_mask")
    if mask is not None and mask.ndim == 2:
        return mask.sum()
    return torch.tensor(inputs["input_ids"].numel(), device=inputs["input_ids"].device)


class Tally:
    """Sums over predictions since the last log, kept on the device until they are asked for.

    Nothing here waits for the device or for another process before ``figures``.

    Args:
        tasks: the ids of the tasks by name.
        kept: where the sums are, so that a checkpoint can hold them.
    """

    _NAME = "figures"

    def __init__(self, tasks: Mapping[str, int], kept: dict[str, Any]) -> None:
        self._tasks = dict(tasks)
        self._kept = kept

    def add(
        self, figures: TokenFigures, *, tokens: torch.Tensor, tasks: torch.Tensor | None
    ) -> None:
        """Add the predictions of a batch.

        Args:
            figures: of its predictions.
            tokens: how many tokens the batch has, prompts included and padding not.
            tasks: the task of each prediction.
        """
        losses = figures.losses.detach()
        count = len(self._tasks)
        by_task = losses.new_zeros(2 * count)
        if tasks is not None and count and len(losses):
            by_task[:count].index_add_(0, tasks, losses)
            by_task[count:].index_add_(0, tasks, torch.ones_like(losses))
        plain = [
            losses.new_tensor(float(len(losses))),
            figures.entropies.sum(),
            figures.correct.sum(),
            tokens.to(losses.device, torch.float32),
        ]
        sums = torch.cat([torch.stack(plain), by_task])
        before = self._kept.get(self._NAME)
        self._kept[self._NAME] = sums if before is None else sums + before.to(sums)

    def take_tokens(self, accelerator: Accelerator) -> int:
        """Return the tokens over all processes since this was asked last."""
        sums = self._kept.get(self._NAME)
        if sums is None:
            return 0
        tokens = sums[_TOKENS].double().to(accelerator.device)
        self._kept[self._NAME] = sums.index_fill(0, torch.tensor(_TOKENS, device=sums.device), 0)
        if accelerator.num_processes > 1:
            tokens = accelerator.reduce(tokens, reduction="sum")
        return int(tokens)

    def figures(self, accelerator: Accelerator) -> dict[str, float]:
        """Return the figures over all processes, and begin anew.

        ``entropy`` and ``mean_token_accuracy`` are means over predictions. ``loss/TASK`` is the
        unweighted mean loss of a task's predictions; it is there where there are several tasks, and
        for those that occurred.
        """
        sums = self._kept.pop(self._NAME, None)
        if sums is None:
            return {}
        sums = sums.to(accelerator.device)
        if accelerator.num_processes > 1:
            sums = accelerator.reduce(sums, reduction="sum")
        predictions, entropy, correct, _, *by_task = sums.tolist()
        result = {
            "entropy": entropy / predictions,
            "mean_token_accuracy": correct / predictions,
        }
        count = len(self._tasks)
        if count > 1:
            for name, number in self._tasks.items():
                if by_task[count + number]:
                    result[f"loss/{name}"] = by_task[number] / by_task[count + number]
        return result
