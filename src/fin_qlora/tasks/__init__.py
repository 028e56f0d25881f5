"""What a task is: its labels, its question, its data and their licence."""

from .catalogue import get, names
from .task import Label, Licence, Source, Task

__all__ = ["Label", "Licence", "Source", "Task", "get", "names"]
