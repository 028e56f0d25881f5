"""One task of an adapter, as its card tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ContractError
from ...prompts import Form, PromptContract
from ...tasks import Task, get, names
from ..claims import dataset_of

_FORMS: tuple[Form, ...] = ("plain", "chat")


@dataclass(frozen=True, kw_only=True)
class AskedTask:
    """One task of the adapter: what the manifest tells of it, its prompt, and its own words."""

    evidence: Mapping[str, Any]
    contract: PromptContract
    task: Task | None

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.evidence["task"])

    @property
    def title(self) -> str:
        """Return its title, or its name where this version does not know it."""
        return self.task.title if self.task else self.name

    @property
    def dataset(self) -> str | None:
        """Return the hub id of the task's data, or None: a path or an address is not one."""
        return dataset_of(self.task)

    @property
    def free(self) -> bool:
        """Say whether its answers are free."""
        return self.contract.grammar != "label"


def asked_task(
    evidence: Mapping[str, Any], contracts: Mapping[str, PromptContract] | None
) -> AskedTask:
    """Return a task of a manifest with its prompt.

    Raises ContractError when the contract is not the one that the manifest names.
    """
    name = evidence["task"]
    task = get(name) if name in names() else None
    given = (contracts or {}).get(name)
    contract = given or _contract(task, evidence)
    if contract.digest != evidence["contract_digest"]:
        raise ContractError(
            f"The prompt contract of task '{name}' is not the one that the manifest names.",
            fix="Give the contract of the adapter's fin_qlora.json.",
        )
    return AskedTask(evidence=evidence, contract=contract, task=task)


def _contract(task: Task | None, evidence: Mapping[str, Any]) -> PromptContract:
    for form in _FORMS if task else ():
        found = task.contract(form) if task else None
        if found and found.digest == evidence["contract_digest"]:
            return found
    raise ContractError(
        f"Task '{evidence['task']}' of this version asks with another prompt than the adapter.",
        fix="Give the contract of the adapter's fin_qlora.json.",
    )
