"""Loading an adapter so that it is the one that was trained, on the base it was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import AdapterMismatchError, UnknownNameError, UsageError
from ..evidence import MANIFEST, RECORD, read_record, tasks_by_name, verify_files
from ..models.base import BaseIdentity, Quantization, load_model, load_tokenizer, locate_base
from ..models.lora import check_loaded
from ..models.repository import fetch
from ..prompts import PromptContract
from .batches import Progress
from .generation import Generated, generate_answers
from .likelihood import mean_log_likelihood
from .scoring import score_labels

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

#: Largest difference of a canary's probability that still counts as the same adapter. Another
#: processor or kernel moves a bfloat16 model's probabilities by less than this.
CANARY_TOLERANCE = 0.05

#: The same for the mean log-likelihood of a free answer, in nats a token.
LIKELIHOOD_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The label of one input, its probability among the labels, and that of every label."""

    label: str
    score: float
    scores: dict[str, float]


class Adapter:
    """A trained adapter on its base, with the prompts that it was trained with.

    Attributes:
        model: the PEFT model.
        tokenizer: the tokenizer that travels with the adapter.
        tasks: name of each task that it was trained for -> how an input becomes a prompt.
        base: identity of the base model.
        quantization: how the base was loaded.
        revision: commit of the adapter's repository, or None for a local folder.
    """

    def __init__(
        self,
        *,
        model: PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        tasks: Mapping[str, PromptContract],
        base: BaseIdentity,
        quantization: Quantization = "none",
        revision: str | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.tasks = dict(tasks)
        self.base = base
        self.quantization: Quantization = quantization
        self.revision = revision

    @property
    def task(self) -> str:
        """Return the name of the task. Raises UsageError when there are several."""
        if len(self.tasks) > 1:
            raise UsageError(
                f"The adapter has several tasks: {', '.join(self.tasks)}.",
                fix="Say which one, by task= or --task.",
            )
        return next(iter(self.tasks))

    @property
    def contract(self) -> PromptContract:
        """Return the prompt contract of the only task. Raises UsageError when there are several."""
        return self.tasks[self.task]

    def predict(
        self,
        inputs: Iterable[Mapping[str, Any] | str] | str,
        *,
        task: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[Prediction]:
        """Return one prediction for each input, in order.

        An input is a row with the fields of the prompt (``contract.fields``) or a plain string,
        which is taken as the whole input. Every label is scored; nothing is generated or parsed.

        Args:
            task: the task that is asked. Without it a row says so in its field ``task``, unless
                the adapter has only one.

        Raises:
            UsageError: it is not said which of several tasks is asked, there is no such one, or
                its answers are free.
        """
        scored = self._ask(score_labels, inputs, task=task, batch_size=batch_size, move=progress)
        return [_prediction(scores) for scores in scored]

    def generate(
        self,
        inputs: Iterable[Mapping[str, Any] | str] | str,
        *,
        task: str | None = None,
        batch_size: int = 32,
        progress: Progress | None = None,
    ) -> list[Generated]:
        """Return what the adapter writes for each input, in order: its likeliest words, unread.

        It is for tasks whose answers are free, and works for labels as well. Inputs and ``task``
        are those of ``predict``.

        Raises:
            UsageError: it is not said which of several tasks is asked, or there is no such one.
            TruncatedAnswerError: an input leaves no room for its answer.
        """
        return self._ask(generate_answers, inputs, task=task, batch_size=batch_size, move=progress)

    def _ask(
        self,
        ask: Callable[..., list[Any]],
        inputs: Iterable[Mapping[str, Any] | str] | str,
        *,
        task: str | None,
        batch_size: int,
        move: Progress | None,
    ) -> list[Any]:
        """Ask the rows of each task with its own prompt; return the results in their order."""
        rows = [inputs] if isinstance(inputs, str) else list(inputs)
        places: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(self.task_of(row, task=task), []).append(place)
        results: dict[int, Any] = {}
        for name, mine in places.items():
            before = len(results)
            found = ask(
                self.model,
                self.tokenizer,
                self.tasks[name],
                [rows[place] for place in mine],
                batch_size=batch_size,
                progress=(lambda done, before=before: move(before + done)) if move else None,
            )
            results.update(zip(mine, found, strict=True))
        return [results[place] for place in range(len(rows))]

    def task_of(self, row: Mapping[str, Any] | str, *, task: str | None = None) -> str:
        """Return the name of the task that a row is asked for: ``task``, or what the row says.

        Raises UsageError when neither says which of several tasks it is, or there is no such one.
        """
        named = task or (None if isinstance(row, str) else row.get("task"))
        if named is None:
            return self.task
        if named not in self.tasks:
            raise UnknownNameError("task of this adapter", str(named), self.tasks)
        return str(named)

    def __repr__(self) -> str:
        return f"Adapter(tasks=[{', '.join(self.tasks)}], base={self.base.id!r})"


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
        verify: compare every file with its digest in the manifest, replay the first canary of
            each task and compare what comes out with what was recorded in training.

    Raises:
        HubNotFoundError, HubRefusedError, HubUnreachableError: it could not be fetched.
        AdapterMismatchError: other base, other prompt, tensors that do not fit, an adapter that
            does nothing, or a canary that sings differently.
    """
    folder, commit = fetch(str(reference), revision=revision, needs="adapter_config.json")
    record = read_record(folder)
    tasks = {
        name: _contract(task, name=str(reference))
        for name, task in tasks_by_name(record, place=str(folder / RECORD)).items()
    }
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
            f"'{identity.id}' has digest {str(identity.digest)[:12]}.",
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
        tasks=tasks,
        base=identity,
        quantization=used,
        revision=commit,
    )
    if verify and used == trained_in:
        first = [{**task, "canaries": task["canaries"][:1]} for task in record["tasks"]]
        replay_canaries(adapter, first, name=str(reference))
    return adapter


def replay_canaries(adapter: Adapter, tasks: Sequence[Mapping[str, Any]], *, name: str) -> None:
    """Ask the recorded prompts of tasks again, one by one.

    Labels are compared by their probabilities (``CANARY_TOLERANCE``), free answers by the mean
    log-likelihood of the right answer (``LIKELIHOOD_TOLERANCE``).

    Args:
        tasks: as ``fin_qlora.json`` has them, with the canaries that are to be replayed.

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
        replay = _off_labels if contract.grammar == "label" else _off_likelihood
        for canary in task["canaries"]:
            finding = replay(adapter, contract, canary)
            if finding:
                raise AdapterMismatchError(
                    f"'{name}' does not answer as it did when it was trained: {finding}",
                    fix="Fetch adapter and base again; verify=False loads it all the same.",
                )


def _off_labels(adapter: Adapter, contract: PromptContract, canary: Mapping[str, Any]) -> str:
    (scores,) = score_labels(adapter.model, adapter.tokenizer, contract, [canary["input"]])
    recorded = canary["adapter_scores"]
    if set(recorded) != set(scores):
        return f"the labels of a canary are {', '.join(recorded)}."
    worst = max(abs(scores[label] - recorded[label]) for label in scores)
    if worst <= CANARY_TOLERANCE:
        return ""
    return f"a recorded probability is off by {worst:.3f} (allowed {CANARY_TOLERANCE})."


def _off_likelihood(adapter: Adapter, contract: PromptContract, canary: Mapping[str, Any]) -> str:
    now = mean_log_likelihood(
        adapter.model, adapter.tokenizer, contract, canary["input"], canary["label"]
    )
    off = abs(now - canary["adapter_log_likelihood"])
    if off <= LIKELIHOOD_TOLERANCE:
        return ""
    return f"a recorded log-likelihood is off by {off:.3f} (allowed {LIKELIHOOD_TOLERANCE})."


def _contract(task: Mapping[str, Any], *, name: str) -> PromptContract:
    contract = PromptContract.from_dict(task["contract"])
    if contract.digest != task["contract_digest"]:
        raise AdapterMismatchError(
            f"The prompt contract of '{name}' (task '{task['task']}') was changed after training.",
            fix="Fetch the adapter again; do not edit fin_qlora.json.",
        )
    return contract


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
