"""Loading an adapter so that it is the one that was trained, on the base it was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import AdapterMismatchError, UsageError
from ..evidence import MANIFEST, read_record, verify_files
from ..models.base import BaseIdentity, Quantization, load_model, load_tokenizer, locate_base
from ..models.lora import check_loaded
from ..models.repository import fetch
from ..prompts import PromptContract
from .scoring import Progress, score_labels

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

#: Largest difference of a canary's probability that still counts as the same adapter. Another
#: processor or kernel moves a bfloat16 model's probabilities by less than this.
CANARY_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The label of one input, its probability among the labels, and that of every label."""

    label: str
    score: float
    scores: dict[str, float]


class Adapter:
    """A trained adapter on its base, with the prompt that it was trained with.

    Attributes:
        model: the PEFT model.
        tokenizer: the tokenizer that travels with the adapter.
        task: name of the task it was trained for.
        contract: how an input becomes a prompt.
        base: identity of the base model.
        quantization: how the base was loaded.
        revision: commit of the adapter's repository, or None for a local folder.
    """

    def __init__(
        self,
        *,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        task: str,
        contract: PromptContract,
        base: BaseIdentity,
        quantization: Quantization = "none",
        revision: str | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.task = task
        self.contract = contract
        self.base = base
        self.quantization: Quantization = quantization
        self.revision = revision

    def predict(
        self,
        inputs: Iterable[Mapping[str, Any] | str] | str,
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """Return one prediction for each input, in order.

        An input is a row with the fields of the prompt (``contract.fields``) or a plain string,
        which is taken as the whole input. Every label is scored; nothing is generated or parsed.
        """
        rows = [inputs] if isinstance(inputs, str) else list(inputs)
        scored = score_labels(
            self.model,
            self.tokenizer,
            self.contract,
            rows,
            batch_size=batch_size,
            progress=progress,
        )
        return [_prediction(scores) for scores in scored]

    def __repr__(self) -> str:
        labels = ", ".join(self.contract.labels)
        return f"Adapter(task={self.task!r}, base={self.base.id!r}, labels=[{labels}])"


def _prediction(scores: dict[str, float]) -> Prediction:
    label = max(scores, key=scores.__getitem__)
    return Prediction(label=label, score=scores[label], scores=scores)


def load_adapter(
    reference: str | Path,
    *,
    revision: str | None = None,
    base: str | Path | None = None,
    quantization: Literal["auto"] | Quantization = "auto",
    verify: bool = True,
) -> Adapter:
    """Load an adapter from the hub that HF_ENDPOINT names, from the cache, or from a folder.

    Args:
        reference: ``org/name`` or a folder.
        revision: branch, tag or commit of the adapter's repository.
        base: a folder or id to take the base from instead of the one that the adapter names; its
            weights must have the same digest.
        quantization: how to load the base; ``auto`` is as it was trained.
        verify: compare every file with its digest in the manifest, replay a canary prompt and
            compare its scores with those recorded in training.

    Raises:
        HubNotFoundError, HubRefusedError, HubUnreachableError: it could not be fetched.
        AdapterMismatchError: other base, other prompt, tensors that do not fit, an adapter that
            does nothing, or a canary that sings differently.
    """
    folder, commit = fetch(str(reference), revision=revision, needs="adapter_config.json")
    record = read_record(folder)
    contract = PromptContract.from_dict(record["contract"])
    if contract.digest != record["contract_digest"]:
        raise AdapterMismatchError(
            f"The prompt contract of '{reference}' was changed after training.",
            fix="Fetch the adapter again; do not edit fin_qlora.json.",
        )
    _check_lineage(folder, record)
    if verify:
        _check_files(folder, name=str(reference))
    trained_on = record["base"]
    where, identity = locate_base(
        str(base or trained_on["id"]), revision=None if base else trained_on["revision"]
    )
    if identity.digest != trained_on["digest"]:
        raise AdapterMismatchError(
            f"'{reference}' was trained on another base: '{trained_on['id']}' at revision "
            f"{trained_on['revision']} with digest {trained_on['digest'][:12]}, but "
            f"'{identity.id}' has digest {identity.digest[:12]}.",
            fix="Load it on the base that it was trained on.",
        )
    trained_in: Quantization = record["quantization"]
    used: Quantization = trained_in if quantization == "auto" else quantization
    model = load_model(where, quantization=used)
    from peft import PeftModel  # after fetch, which first sets what its libraries read once

    peft_model = PeftModel.from_pretrained(model, str(folder))
    check_loaded(peft_model, folder)
    peft_model.eval()
    adapter = Adapter(
        model=peft_model,
        tokenizer=load_tokenizer(folder),
        task=record["task"],
        contract=contract,
        base=identity,
        quantization=used,
        revision=commit,
    )
    if verify and used == trained_in:
        replay_canaries(adapter, record["canaries"][:1], name=str(reference))
    return adapter


def replay_canaries(adapter: Adapter, canaries: list[dict[str, Any]], *, name: str) -> None:
    """Score recorded prompts again, one by one. Raises AdapterMismatchError when one differs."""
    if not canaries:
        raise UsageError(f"'{name}' has no canaries to replay.", fix="Load it with verify=False.")
    for canary in canaries:
        (scores,) = score_labels(
            adapter.model, adapter.tokenizer, adapter.contract, [canary["input"]]
        )
        recorded = canary["adapter_scores"]
        worst = max(abs(scores[label] - recorded[label]) for label in scores)
        if worst > CANARY_TOLERANCE:
            raise AdapterMismatchError(
                f"'{name}' does not answer as it did when it was trained: a recorded probability "
                f"is off by {worst:.3f} (allowed {CANARY_TOLERANCE}).",
                fix="Fetch adapter and base again; verify=False loads it all the same.",
            )


def _check_files(folder: Path, *, name: str) -> None:
    findings = verify_files(folder) if (folder / MANIFEST).is_file() else []
    if findings:
        raise AdapterMismatchError(
            f"'{name}' is not what was trained: {' '.join(findings)}",
            fix="Fetch the adapter again; verify=False loads it all the same.",
        )


def _check_lineage(folder: Path, record: Mapping[str, Any]) -> None:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    named = (config.get("base_model_name_or_path"), config.get("revision"))
    recorded = (record["base"]["id"], record["base"]["revision"])
    if named != recorded:
        raise AdapterMismatchError(
            f"adapter_config.json names the base {named[0]!r} at {named[1]!r}, but fin_qlora.json "
            f"{recorded[0]!r} at {recorded[1]!r}.",
            fix="One of them was edited; fetch the adapter again.",
        )
