"""Replaying the prompts whose answers were recorded when training ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ...errors import AdapterMismatchError, UsageError
from ..likelihood import mean_log_likelihood
from ..scoring import score_labels

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from ...prompts import PromptContract

#: Largest difference of a canary's probability that still counts as the same adapter. Another
#: processor or kernel moves a bfloat16 model's probabilities by less than this.
CANARY_TOLERANCE = 0.05

#: The same for the mean log-likelihood of a free answer, in nats a token.
LIKELIHOOD_TOLERANCE = 0.1

#: Whose answers were recorded.
Side = Literal["adapter", "base"]


class Asked(Protocol):
    """What canaries are sung to: an adapter that is active on its base."""

    @property
    def model(self) -> PeftModel:
        """The PEFT model."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that travels with the adapter."""

    @property
    def tasks(self) -> Mapping[str, PromptContract]:
        """Name of each task -> its prompt contract."""


def replay_canaries(
    adapter: Asked,
    tasks: Sequence[Mapping[str, Any]],
    *,
    name: str,
    base_too: bool = False,
) -> None:
    """Ask the recorded prompts of tasks again, one by one.

    Labels are compared by their probabilities (``CANARY_TOLERANCE``), free answers by the mean
    log-likelihood of the right answer (``LIKELIHOOD_TOLERANCE``).

    Args:
        tasks: as ``fin_qlora.json`` has them, with the canaries that are to be replayed.
        base_too: also ask the base without the adapter, and compare with what it answered.

    Raises:
        UsageError: a task has no canary.
        AdapterMismatchError: an answer differs from the one in training.
    """
    for task in tasks:
        if not task["canaries"]:
            raise UsageError(
                f"Task '{task['task']}' of '{name}' has no canaries to replay.",
                fix="Load it with verify=False.",
            )
        contract = adapter.tasks[task["task"]]
        for canary in task["canaries"]:
            _replay(adapter, contract, canary, side="adapter", name=name)
        if base_too:
            with adapter.model.disable_adapter():
                for canary in task["canaries"]:
                    _replay(adapter, contract, canary, side="base", name=name)


def _replay(
    adapter: Asked, contract: PromptContract, canary: Mapping[str, Any], *, side: Side, name: str
) -> None:
    off = canary_off(adapter.model, adapter.tokenizer, contract, canary, side=side)
    allowed = CANARY_TOLERANCE if contract.grammar == "label" else LIKELIHOOD_TOLERANCE
    if off <= allowed:  # NaN is not
        return
    what = "probability" if contract.grammar == "label" else "log-likelihood"
    who = f"'{name}' does" if side == "adapter" else f"The base of '{name}' does"
    raise AdapterMismatchError(
        f"{who} not answer as it did when it was trained: a recorded {what} is off by {off:.3f} "
        f"(allowed {allowed}).",
        fix="Fetch adapter and base again; verify=False loads it all the same.",
    )


def canary_off(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    contract: PromptContract,
    canary: Mapping[str, Any],
    *,
    side: Side = "adapter",
) -> float:
    """Return how far a model is off what was recorded of ``side`` for one canary.

    For labels that is the largest difference of a probability, for free answers that of the mean
    log-likelihood of the right answer, in nats a token.
    """
    if contract.grammar != "label":
        now = mean_log_likelihood(model, tokenizer, contract, canary["input"], canary["label"])
        return abs(now - float(canary[f"{side}_log_likelihood"]))
    recorded: Mapping[str, float] = canary[f"{side}_scores"]
    if set(recorded) != set(contract.labels):
        raise AdapterMismatchError(
            f"The labels of a canary are {', '.join(recorded)}, those of its task "
            f"{', '.join(contract.labels)}.",
            fix="Fetch the adapter again; do not edit fin_qlora.json.",
        )
    (scores,) = score_labels(model, tokenizer, contract, [canary["input"]])
    # Python's max passes over NaN
    return float(np.max([abs(scores[label] - recorded[label]) for label in recorded]))
