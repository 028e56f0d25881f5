"""The model for which prompts are written: its tokenizer, and how an adapter is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import MissingFileError
from ...evidence import read_record, tasks_by_name
from ...models.base import load_tokenizer, locate_base
from ...models.repository import fetch
from ...models.stored_lora import CONFIG
from ...models.tiny import TINY_ID
from ...prompts import Form, PromptContract
from ...tasks import Task
from ..trained_prompt import trained_prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A base or an adapter, without its weights.

    Args:
        contracts: task -> prompt that an adapter was trained with; empty for a base.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    contracts: Mapping[str, PromptContract] = field(default_factory=dict)

    def prompt(self, task: Task, *, form: Form | None) -> PromptContract:
        """Return the prompt that the adapter was trained with for a task.

        Raises:
            AdapterMismatchError: it was trained for none that asks the same.
            UsageError: it was trained in another form.
        """
        return trained_prompt(self.contracts, task, form=form, name=self.name)


def asked_of(reference: str, *, revision: str | None = None) -> Asked:
    """Return the tokenizer, and an adapter's prompts, of a folder or hub id; no weights are read.

    Raises MissingFileError or HubError where it is not there.
    """
    if reference != TINY_ID:
        try:
            folder, _ = fetch(reference, revision=revision, needs=CONFIG, weights=False)
        except MissingFileError:
            pass
        else:
            tasks = tasks_by_name(read_record(folder), place=reference)
            return Asked(
                name=reference,
                tokenizer=load_tokenizer(folder),
                contracts={
                    name: PromptContract.from_dict(task["contract"]) for name, task in tasks.items()
                },
            )
    folder, _ = locate_base(reference, revision=revision, weights=False)
    return Asked(name=reference, tokenizer=load_tokenizer(folder))
