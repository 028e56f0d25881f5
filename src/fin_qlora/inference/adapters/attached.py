"""One adapter among those that are on a base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...models.base import load_tokenizer
from ...models.stored_lora import attach
from ..calibration import Calibration
from .canaries import replay_canaries
from .folder import AdapterFolder, Verify

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ...models.base import Quantization
    from ...prompts import PromptContract


@dataclass(frozen=True, kw_only=True)
class AttachedAdapter:
    """An adapter that is on a base, alone or beside others.

    Args:
        name: what the user calls it.
        commit: of its repository, or None for a local folder.
        slot: what PEFT calls it.
        tokenizer: the one that travels with it.
        tasks: name of each of its tasks -> its prompt contract.
        calibrations: name of a task -> what turns its log-likelihoods into probabilities.
        mixes: whether PEFT can answer its rows in one batch with those of others.
    """

    name: str
    commit: str | None
    slot: str
    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    tasks: Mapping[str, PromptContract]
    calibrations: dict[str, Calibration]
    mixes: bool

    def activate(self) -> None:
        """Let the model answer as this adapter does."""
        if self.model.active_adapter != self.slot:
            self.model.set_adapter(self.slot, inference_mode=True)


def attach_adapter(
    model: PreTrainedModel | PeftModel,
    source: AdapterFolder,
    *,
    name: str,
    slot: str,
    quantization: Quantization,
    verify: Verify,
) -> AttachedAdapter:
    """Put an adapter on a base and let it sing its canaries; where it is refused, take it off.

    Args:
        quantization: how the base is loaded. Canaries hold for the one that was trained in; under
            another they are not replayed.

    Raises:
        AdapterMismatchError: its tensors do not fit, do nothing, or answer otherwise.
        NotFiniteError: a weight is NaN or infinite.
        UsageError: ``verify="full"`` under another quantisation than that of training.
    """
    sings = verify and quantization == source.trained_in
    if verify == "full" and not sings:
        raise UsageError(
            f"The canaries of '{source.name}' hold for a base in '{source.trained_in}', and it is "
            f"to be loaded in '{quantization}'.",
            fix="Leave out the quantisation, or the full check.",
        )
    before = getattr(model, "active_adapter", None)  # none on a bare base
    peft = attach(model, source.folder, name=slot)
    try:
        attached = AttachedAdapter(
            name=name,
            commit=source.commit,
            slot=slot,
            model=peft,
            tokenizer=load_tokenizer(source.folder),
            tasks=source.tasks,
            calibrations=calibrations_of(source.record),
            mixes=not source.config.get("use_dora"),
        )
        attached.activate()
        if sings:
            count = None if verify == "full" else 1
            tasks = [
                {**task, "canaries": task["canaries"][:count]} for task in source.record["tasks"]
            ]
            replay_canaries(attached, tasks, name=source.name, base_too=verify == "full")
    except BaseException:
        if before is not None:
            peft.set_adapter(before, inference_mode=True)
            peft.delete_adapter(slot)
        raise
    return attached


def calibrations_of(record: Mapping[str, Any]) -> dict[str, Calibration]:
    """Return what turns log-likelihoods into probabilities, for each task that has one."""
    return {
        task["task"]: Calibration.from_dict(task["calibration"])
        for task in record["tasks"]
        if task.get("calibration")
    }
