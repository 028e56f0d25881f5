"""How far one way of running an adapter is from another, on the adapter's own canaries."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.base import Quantization, load_model, load_tokenizer
from ...models.stored_lora import attach
from ..adapters.folder import AdapterFolder
from ..scoring import score_labels

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a model says to each canary: logits where an answer token is predicted, and labels.

    Args:
        logits: of each canary, (tokens of its answer, vocabulary) in float32.
        scores: of each canary, label -> probability; empty where answers are free.
    """

    logits: list[torch.Tensor]
    scores: list[dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far answers are off: worst canary of all, NaN where one has no numbers.

    Args:
        logits: length of the difference of logits by the length of the logits.
        probability: of a label; None where all answers are free.
        turned: canaries whose likeliest next token is another one.
        canaries: how many were asked.
    """

    logits: float
    probability: float | None
    turned: int
    canaries: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "logits": self.logits,
            "probability": self.probability,
            "turned": self.turned,
            "canaries": self.canaries,
        }


def answers_of(
    folder: Path,
    source: AdapterFolder,
    *,
    adapter: bool = True,
    quantization: Quantization = "none",
) -> Answered:
    """Load a base or a merged model, ask it an adapter's canaries, and let it go again.

    Args:
        adapter: whether the adapter is put on it first.
        quantization: how it is loaded.
    """
    import torch

    model: Any = load_model(folder, quantization=quantization)
    if adapter:
        model = attach(model, source.folder, name="default")
    model.eval()
    causal = model.get_base_model() if adapter else model
    tokenizer = load_tokenizer(source.folder)
    logits: list[torch.Tensor] = []
    scores: list[dict[str, float]] = []
    device = causal.get_input_embeddings().weight.device
    for task in source.record["tasks"]:
        contract = source.tasks[task["task"]]
        for canary in task["canaries"]:
            prompt = contract.prompt(tokenizer, canary["input"])
            spoken = contract.answer(tokenizer, canary["label"])
            ids = torch.tensor([prompt + spoken[:-1]], device=device)
            with torch.no_grad():
                found = causal(input_ids=ids, use_cache=False, logits_to_keep=len(spoken)).logits
            logits.append(found[0].float().cpu())
            if contract.labels:
                scores += score_labels(model, tokenizer, contract, [canary["input"]])
    del model, causal
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Answered(logits=logits, scores=scores)


def drift_between(one: Answered, other: Answered) -> Drift:
    """Return how far ``one`` is off ``other``, worst canary of all."""
    pairs = list(zip(one.logits, other.logits, strict=True))
    labels = [
        abs(mine[label] - theirs[label])
        for mine, theirs in zip(one.scores, other.scores, strict=True)
        for label in theirs
    ]
    return Drift(
        # Python's max passes over NaN
        logits=float(np.max([float((a - b).norm() / b.norm()) for a, b in pairs])),
        probability=float(np.max(labels)) if labels else None,
        turned=sum(bool((a.argmax(-1) != b.argmax(-1)).any()) for a, b in pairs),
        canaries=len(pairs),
    )
