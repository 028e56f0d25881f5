"""The model that is evaluated: a base or an adapter, a folder or a hub id."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingFileError, UsageError
from ..evidence import read_record
from ..files import sha256_file, sha256_json
from ..inference import load_adapter
from ..inference.adapters.attached import calibrations_of
from ..inference.adapters.folder import read_adapter
from ..inference.calibration import Calibration
from ..models.base import BaseIdentity, Quantization, load_model, load_tokenizer, locate_base
from ..models.lora import WEIGHTS
from ..models.repository import fetch
from ..models.tiny import TINY_ID
from ..prompts import Form, PromptContract
from ..tasks import Task, get
from .trained_prompt import trained_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A loaded model, and what it is.

    Attributes:
        name: the folder or id that was asked for.
        tasks: name of each task that an adapter was trained for -> its prompt; empty for a base.
        revision: commit of the repository, None for a folder.
        adapter_digest: SHA-256 of an adapter's weights.
        adapter_bytes: size of that file; ``None`` for a base.
        calibrations: name of a task -> what turns log-likelihoods into its probabilities.
        staged: its layers are spread over the processes, which answer each row together.
    """

    name: str
    model: Any
    tokenizer: PreTrainedTokenizerBase
    base: BaseIdentity
    revision: str | None
    quantization: str
    tasks: Mapping[str, PromptContract] = field(default_factory=dict)
    adapter_digest: str | None = None
    adapter_bytes: int | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    staged: bool = False

    @property
    def is_adapter(self) -> bool:
        """Say whether it is an adapter and no base."""
        return self.adapter_digest is not None

    @cached_property
    def tokenizer_digest(self) -> str:
        """Return the SHA-256 over all by which text becomes tokens, chat template included."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        told = json.loads(backend.to_str()) if backend else self.tokenizer.get_vocab()
        asked = {name: told[name] for name in told if name not in ("padding", "truncation")}
        return sha256_json([asked, getattr(self.tokenizer, "chat_template", None)])

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the processes of a model in stages together, and let them go at the end."""
        with self.model if self.staged else contextlib.nullcontext():
            yield

    def tasks_named(self, names: tuple[str, ...]) -> list[Task]:
        """Return the tasks of those names (or files), or all that an adapter was trained for.

        Raises:
            UsageError: none is named for a base, or one twice.
            UnknownNameError: there is no such task.
        """
        if not names and not self.is_adapter:
            raise UsageError(
                f"'{self.name}' is a base model, so the task must be named.", fix="Pass --task."
            )
        found = [get(name) for name in names or tuple(self.tasks)]
        if len({task.name for task in found}) < len(found):
            raise UsageError(f"The tasks {', '.join(names)} name one twice.", fix="Name each once.")
        return found

    def prompt(self, task: Task, *, form: Form | None) -> PromptContract:
        """Return how a task is asked: as the adapter was trained, or a base in ``form``.

        Raises:
            AdapterMismatchError: the adapter was trained for another task.
            UsageError: it was trained in another form.
        """
        if not self.is_adapter:
            return task.contract(form or "plain")
        return trained_prompt(self.tasks, task, form=form, name=self.name)

    def calibration(self, contract: PromptContract) -> Calibration | None:
        """Return what turns the log-likelihoods of that prompt's labels into probabilities."""
        for name, asked in self.tasks.items():
            if asked.digest == contract.digest:
                return self.calibrations.get(name)
        return None


def open_subject(
    reference: str,
    *,
    revision: str | None = None,
    quantization: Quantization | None = None,
    stages: int = 1,
) -> Subject:
    """Load a base or an adapter that is a folder or a hub id.

    Args:
        quantization: how to load the base; None is as it was trained, for a base 16-bit.
        stages: processes over which the layers are spread; all of them must call.

    Raises:
        MissingFileError, HubError: it is not there.
        AdapterMismatchError: the adapter is not what was trained.
    """
    adapter, commit = _adapter_folder(reference, revision)
    revision = commit or revision  # a branch may move between two looks at it
    of_adapter: dict[str, Any] = {}
    if adapter is not None:
        weights = adapter / WEIGHTS
        if not weights.is_file():
            raise MissingFileError(f"'{reference}' has no {WEIGHTS}.", fix="Fetch it again.")
        of_adapter = {
            "adapter_digest": sha256_file(weights),
            "adapter_bytes": weights.stat().st_size,
            "calibrations": calibrations_of(read_record(adapter)),
        }
    if stages > 1:
        return _staged(reference, revision, quantization, stages=stages, of_adapter=of_adapter)
    if adapter is not None:
        found = load_adapter(reference, revision=revision, quantization=quantization or "auto")
        return Subject(
            name=reference,
            model=found.model,
            tokenizer=found.tokenizer,
            base=found.base,
            revision=found.revision,
            quantization=found.quantization,
            tasks=found.tasks,
            **of_adapter,
        )
    folder, base = locate_base(reference, revision=revision)
    used = quantization or "none"
    return Subject(
        name=reference,
        model=load_model(folder, quantization=used),
        tokenizer=load_tokenizer(folder),
        base=base,
        revision=base.revision,
        quantization=used,
    )


def fetch_subject(reference: str, *, revision: str | None = None) -> None:
    """Download the files of a base, or of an adapter and its base, where they are missing."""
    adapter, commit = _adapter_folder(reference, revision)
    if adapter is not None:
        read_adapter(reference, revision=commit or revision)
    else:
        locate_base(reference, revision=revision)


def _staged(
    reference: str,
    revision: str | None,
    quantization: Quantization | None,
    *,
    stages: int,
    of_adapter: Mapping[str, Any],
) -> Subject:
    from ..inference.pipeline import load_staged

    found = load_staged(
        reference, stages=stages, quantization=quantization or "auto", revision=revision
    )
    return Subject(
        name=reference,
        model=found,
        tokenizer=found.tokenizer,
        base=found.base,
        revision=found.revision,
        quantization=found.quantization,
        tasks=found.tasks,
        staged=True,
        **of_adapter,
    )


def _adapter_folder(reference: str, revision: str | None) -> tuple[Path | None, str | None]:
    """Return the folder of an adapter and its commit; None for a base."""
    if reference == TINY_ID:
        return None, None
    try:
        return fetch(reference, revision=revision, needs="adapter_config.json")
    except MissingFileError:
        return None, None
