"""What a task is: its labels or its answer grammar, its question, its data and their licence."""

from .catalogue import get, names, shipped
from .grammar import Answer
from .source import (
    HubForm,
    Label,
    Licence,
    Option,
    RawFile,
    RawForm,
    Source,
    Split,
    SplitRule,
)
from .task import Task

__all__ = [
    "Answer",
    "HubForm",
    "Label",
    "Licence",
    "Option",
    "RawFile",
    "RawForm",
    "Source",
    "Split",
    "SplitRule",
    "Task",
    "get",
    "names",
    "shipped",
]
