"""The programs that a run may report to: they must be there before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.integrations.integration_utils import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)

from ...errors import MissingDependencyError, UnknownNameError

if TYPE_CHECKING:
    from transformers import TrainingArguments


def check_trackers(args: TrainingArguments) -> None:
    """Refuse a tracker that transformers does not know, or that is not installed.

    Raises:
        UnknownNameError: nothing is called that; the nearest name is offered.
        MissingDependencyError: it is not installed.
    """
    installed = get_available_reporting_integrations()
    for name in args.report_to or ():
        if name not in INTEGRATION_TO_CALLBACK:
            raise UnknownNameError("tracker for report_to", name, INTEGRATION_TO_CALLBACK)
        if name not in installed:
            raise MissingDependencyError(
                f"report_to names '{name}', which is not installed.",
                fix=f"Install it (pip install {name}), or leave report_to out.",
            )
