"""Starting a recipe under ``accelerate launch``, and getting its own exit code back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..evidence.environment import threads_asked
from ..exits import EXIT_CODE_FILE
from ..recipes.catalogue import accelerate_profile_path
from ..recipes.families import module_of
from .processes import python_module, run_program


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A recipe with its flags, and the accelerate profile that says on how many devices.

    Without a profile it is one process: a GPU where there is one, else the CPU.
    """

    recipe: str
    flags: Sequence[str] = ()
    profile: str = "single"

    def arguments(self) -> list[str]:
        """Return what follows ``accelerate launch``.

        Raises UnknownNameError for a profile, and UsageError for a recipe that names no task.
        """
        return [
            "--quiet",
            "--config_file",
            str(accelerate_profile_path(self.profile)),
            "-m",
            module_of(self.recipe, self.flags),
            "--config",
            self.recipe,
            *_threads(),
            *self.flags,
        ]

    def typed(self) -> list[str]:
        """Return the equivalent command as a person would type it."""
        return ["accelerate", "launch", *self.arguments()]

    def run(
        self, *, on_line: Callable[[str], None], environment: Mapping[str, str] | None = None
    ) -> int:
        """Run it to its end and return the recipe's own exit code.

        accelerate ends with 1 whatever the recipe ended with, so the recipe also writes its code
        to a file. ``on_line`` gets every line of its stdout; its progress goes to our stderr.
        """
        with tempfile.TemporaryDirectory(prefix="fin-qlora-") as place:
            told = Path(place) / "exit-code"
            code = run_program(
                python_module("accelerate.commands.launch", *self.arguments()),
                environment={**(environment or os.environ), EXIT_CODE_FILE: str(told)},
                on_line=on_line,
            )
            if code == 0 or not told.exists():
                return code
            return int(told.read_text(encoding="utf-8") or code) or code


def _threads() -> list[str]:
    """Return the recipe's flag for OMP_NUM_THREADS, which accelerate replaces; none if unset."""
    asked = threads_asked()
    return ["--cpu_threads", str(asked)] if asked else []
