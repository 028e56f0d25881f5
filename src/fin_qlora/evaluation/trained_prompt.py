"""How an adapter is asked about a task: as it was trained, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import AdapterMismatchError, UsageError
from ..prompts import Form, PromptContract
from ..tasks import Task


def trained_prompt(
    contracts: Mapping[str, PromptContract], task: Task, *, form: Form | None, name: str
) -> PromptContract:
    """Return the prompt that an adapter was trained with for a task: by its name, or the same one.

    Args:
        contracts: name of each task that it was trained for -> its prompt.
        form: the form that is asked for; None for any.
        name: of the adapter, for messages.

    Raises:
        AdapterMismatchError: it was trained for none that asks the same.
        UsageError: it was trained in another form.
    """
    named = contracts.get(task.name)
    for contract in [named] if named is not None else contracts.values():
        if task.contract(contract.form).digest == contract.bare.digest:
            if form not in (None, contract.form):
                raise UsageError(
                    f"'{name}' was trained with prompts in the form '{contract.form}', not "
                    f"'{form}'.",
                    fix="Leave out the form.",
                )
            return contract
    raise AdapterMismatchError(
        f"'{name}' was trained for {', '.join(contracts)} with another prompt than task "
        f"'{task.name}' has.",
        fix="Name a task that it was trained for.",
    )
