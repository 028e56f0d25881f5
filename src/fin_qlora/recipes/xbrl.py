"""Fine-tune a base on questions about XBRL filings, several kinds of them in one adapter.

accelerate launch -m fin_qlora.recipes.xbrl --config xbrl/tiny-4bit-r4 --data_dir QUESTIONS

QUESTIONS is the folder that ``fin-qlora data xbrl`` wrote. Answers are free text, so base and
adapter are evaluated by letting them write; ``--evaluation_rows N`` limits that to N rows a task.
"""

from __future__ import annotations

import sys

from ..exits import run_guarded
from ..offline import quiet_environment


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe; every process of a distributed launch does."""
    quiet_environment()  # before anything below imports the libraries that read it

    from . import stages
    from .families import free_answer_tasks

    stages.run(arguments, tasks_named=free_answer_tasks)


if __name__ == "__main__":
    sys.exit(run_guarded(main))
