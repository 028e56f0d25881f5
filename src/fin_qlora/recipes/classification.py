"""Fine-tune a base on classification tasks, evaluate both, leave an adapter with evidence.

accelerate launch -m fin_qlora.recipes.classification \
    --config classification/tfns-tiny-4bit-r4 --data_dir DATA
"""

from __future__ import annotations

import sys

from ..exits import run_guarded
from ..offline import quiet_environment


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe; every process of a distributed launch does."""
    quiet_environment()  # before anything below imports the libraries that read it

    from . import stages
    from .families import classification_tasks

    stages.run(arguments, tasks_named=classification_tasks)


if __name__ == "__main__":
    sys.exit(run_guarded(main))
