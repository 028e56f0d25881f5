"""What can go wrong, and what the user decides about it.

FinQloraError                     exit code 1
├── FindingsError              1  a check found something: the report says what
│   └── MergeDriftError        1  a merged model does not answer as its adapter does
├── UsageError                 2  the command, flag or recipe is not right
│   └── UnknownNameError       2  ... and a name close to it exists
├── DataError                  3  rows, labels or files are not what the task expects
│   ├── MissingFileError       3
│   ├── EmptyDatasetError      3
│   ├── UnknownLabelError      3
│   ├── TruncatedAnswerError   3  a row is longer than the model may read
│   ├── ContractError          3  the prompt cannot be built without ambiguity
│   ├── AdapterMismatchError   3  the adapter does not belong to this base, or does nothing
│   ├── RemoteCodeError        3  the model would run code of its own
│   ├── CheckpointMismatchError 3 the checkpoint was left by another run than this one
│   ├── NotFiniteError         3  a model answers NaN or infinity
│   ├── DivergedError          3  the loss or its gradient is no number any more, or far too large
│   └── UntrainedAdapterError  3  training changed no weight
├── EnvironmentFault           4  this machine cannot do it
│   ├── DiskFullError          4
│   ├── MemoryShortError       4  a batch does not fit into memory
│   ├── MissingDependencyError 4
│   └── ProcessLostError       4  another process of the run has ended or does not answer
└── HubError                   5  the hub did not do what was asked
    ├── HubUnreachableError    5
    ├── HubRefusedError        5  the token is wrong or lacks the right
    └── HubNotFoundError       5
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that is spelled most like ``name``, or None when none comes close."""
    matches = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return matches[0] if matches else None


class FinQloraError(Exception):
    """Any error of this package: one sentence that says what is wrong, one that says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message} {self.fix}".rstrip()


class FindingsError(FinQloraError):
    """A check ran to its end and found something wrong."""


class MergeDriftError(FindingsError):
    """A merged model answers otherwise than base and adapter do."""


class UsageError(FinQloraError):
    """The command line or the recipe asks for something that does not exist or does not fit."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name is not known; the message offers the nearest one that is."""

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        known = sorted(choices)
        close = nearest(name, known)
        if close:
            fix = f"Did you mean '{close}'?"
        elif known:
            fix = f"Known: {', '.join(known[:12])}{', …' if len(known) > 12 else ''}."
        else:
            fix = ""
        super().__init__(f"There is no {kind} '{name}'.", fix=fix)
        self.kind, self.name = kind, name


class DataError(FinQloraError):
    """The data is not what the task expects."""

    exit_code = 3


class MissingFileError(DataError):
    """A file that is needed is not there."""


class EmptyDatasetError(DataError):
    """A data set has no row to work on."""


class UnknownLabelError(DataError):
    """A row has a label that the task does not know."""


class TruncatedAnswerError(DataError):
    """A row is longer than the limit, so that training would cut it."""


class ContractError(DataError):
    """Prompt and answer cannot be turned into token ids without ambiguity."""


class AdapterMismatchError(DataError):
    """The adapter does not belong to this base, to this contract, or does nothing."""


class NotFiniteError(DataError):
    """A weight or a logit is NaN or infinite: there is no answer in it."""


class RemoteCodeError(DataError):
    """A base or an adapter names code of its own to be run."""


class CheckpointMismatchError(DataError):
    """The checkpoint was left by a run that differs from this one, so that it cannot go on."""


class DivergedError(DataError):
    """Training has left the numbers: its loss or gradient is not finite, or far too large."""


class UntrainedAdapterError(DataError):
    """Training went through its steps and changed no weight."""


class EnvironmentFault(FinQloraError):
    """This machine or installation cannot do what was asked."""

    exit_code = 4


class DiskFullError(EnvironmentFault):
    """There is no room left on the disk."""


class MemoryShortError(EnvironmentFault):
    """A batch does not fit into the memory of the device."""


class MissingDependencyError(EnvironmentFault):
    """An optional package that is needed here is not installed."""


class ProcessLostError(EnvironmentFault):
    """Another process of a distributed run has ended, or answers no more."""


class HubError(FinQloraError):
    """The hub did not do what was asked."""

    exit_code = 5


class HubUnreachableError(HubError):
    """No hub answers at the endpoint."""


class HubRefusedError(HubError):
    """The hub knows the request but the token is wrong or lacks the right."""


class HubNotFoundError(HubError):
    """The repository, revision or file is not on the hub, or is hidden from this token."""
