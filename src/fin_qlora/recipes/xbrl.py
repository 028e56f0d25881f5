"""Fine-tune a base on questions about XBRL filings, several kinds of them in one adapter.

accelerate launch -m fin_qlora.recipes.xbrl --config xbrl/tiny-4bit-r4 --data_dir QUESTIONS

QUESTIONS is the folder that ``fin-qlora data xbrl`` wrote. Answers are free text, so base and
adapter are evaluated by letting them write; ``--evaluation_rows N`` limits that to N rows a task.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..exits import run_guarded
from ..offline import quiet_environment


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe; every process of a distributed launch does."""
    quiet_environment()  # before anything below imports the libraries that read it

    from ..training.checkpoints import resume_point
    from ..training.processes import check_world, use_cores
    from . import stages
    from .arguments import parse
    from .families import free_answer_tasks

    # settings
    settings, training, base = parse(arguments)
    tasks = free_answer_tasks(settings.task_names)
    start = resume_point(training.resume_from_checkpoint, output_dir=Path(str(training.output_dir)))
    check_world(training.world_size)
    use_cores(settings.cpu_threads)

    # questions, checked and shortened where they are too long
    checked, conditions = stages.preflight(settings, training, base, tasks=tasks)
    if settings.dry_run:
        stages.print_plan(checked, conditions)
        return

    # base and fresh adapter
    trainer = stages.make_trainer(checked, training, base)
    before = stages.evaluate_base(trainer, checked, settings)

    # trained adapter
    temporary = stages.train_to_the_end(trainer, checked, start=start)
    after = stages.evaluate_adapter(trainer, checked, settings)

    # evidence
    stages.leave_adapter(
        trainer,
        checked,
        arguments=(settings, training, base),
        before=before,
        after=after,
        start=start,
        temporary=temporary,
    )


if __name__ == "__main__":
    sys.exit(run_guarded(main))
