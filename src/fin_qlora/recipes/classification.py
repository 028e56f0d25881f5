"""Fine-tune a base on classification tasks, evaluate both, leave an adapter with evidence.

accelerate launch -m fin_qlora.recipes.classification \
    --config classification/tfns-tiny-4bit-r4 --data_dir DATA
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
    from .families import classification_tasks

    # settings
    settings, training, base = parse(arguments)
    tasks = classification_tasks(settings.task_names)
    start = resume_point(training.resume_from_checkpoint, output_dir=Path(str(training.output_dir)))
    check_world(training.world_size)
    use_cores(settings.cpu_threads)

    # rows, checked
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
