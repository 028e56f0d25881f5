"""A fine-tune and its stages, which every recipe goes through."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow
from accelerate import PartialState
from datasets import Dataset
from trl import get_peft_config

from ..data.encode_cache import EncodedCache
from ..errors import UsageError
from ..evaluation import Evaluation, evaluate_rows
from ..models.base import load_model
from ..models.lora import in_stored_precision, trainable_parameters
from ..models.sharded import askable, keep_adapter_whole
from ..tasks import Task
from ..training import FinSFTConfig, FinSFTTrainer, XBRLMultiTaskCollator
from ..training.checks.conditions import Conditions, check_conditions, check_settings
from ..training.checks.preflight import (
    Preflight,
    checkpoints_at_once,
    require_space,
    room_for,
    run_preflight,
)
from ..training.checks.trackers import check_trackers
from ..training.optimizers.sharding import Sharding
from ..training.result.adapter_folder import FinishedRun
from ..training.running.checkpoints import (
    ResumePoint,
    TrainingInterrupted,
    forget,
    resume_point,
    train,
)
from ..training.running.processes import check_world, use_cores
from .arguments import BaseArguments, RunArguments, parse
from .configuration import configuration
from .live import LiveLine
from .progress import announce, counting, first_on_each_machine
from .telling import plan_lines, score_lines

#: Gives tasks by their names.
TasksNamed = Callable[[Sequence[str]], list[Task]]

#: Task name -> its evaluation.
Evaluations = dict[str, Evaluation]


def run(arguments: list[str] | None, *, tasks_named: TasksNamed) -> None:
    """Fine-tune as the arguments say, and leave an adapter with its evidence.

    Every process of a distributed launch goes through it.

    Args:
        tasks_named: gives the tasks of the names in the settings, or refuses them.
    """
    # settings
    settings, training, base = parse(arguments)
    tasks = tasks_named(settings.task_names)
    start = resume_point(training.resume_from_checkpoint, output_dir=Path(str(training.output_dir)))
    check_world(training.world_size)
    use_cores(settings.cpu_threads)

    # rows, checked and, where that is asked for, shortened
    checked, conditions = preflight(settings, training, base, tasks=tasks)
    if settings.dry_run:
        print_plan(checked, conditions)
        return

    # base and fresh adapter
    trainer = make_trainer(checked, conditions, training, base)
    shared_out = Sharding.of(training).shares_base  # which training does: it answers only then
    if shared_out:
        require_training(start, training)
    before = {} if shared_out else evaluate_base(trainer, checked, settings)

    # trained adapter
    temporary = train_to_the_end(trainer, checked, start=start)
    after = evaluate_adapter(trainer, checked, settings)
    if shared_out:
        before = evaluate_base(trainer, checked, settings)

    # evidence
    leave_adapter(
        trainer,
        checked,
        arguments=(settings, training, base),
        before=before,
        after=after,
        start=start,
        temporary=temporary,
    )


def preflight(
    settings: RunArguments, training: FinSFTConfig, base: BaseArguments, *, tasks: list[Task]
) -> tuple[Preflight, Conditions]:
    """Check that there is room, and every row, once on each machine; tell the plan."""
    check_settings(training)
    require_space(Path(str(training.output_dir)), room_for())
    with first_on_each_machine():
        checked = run_preflight(
            [(task, task.contract(settings.form)) for task in tasks],
            base=str(base.model_name_or_path),
            base_revision=base.model_revision,
            data_dir=Path(settings.data_dir) if settings.data_dir else None,
            synthetic_seed=settings.synthetic_seed,
            max_length=training.max_length,
            on_overlong=settings.on_overlong,
            shots=settings.shots,
            shots_seed=settings.shots_seed,
            evaluation_rows=settings.evaluation_rows,
            cache=EncodedCache(),
            weights=not settings.dry_run,
        )
    conditions = check_conditions(
        training,
        rows=checked.rows,
        base=checked.base.id,
        tasks=[one.name for one in checked.tasks],
    )
    for line in plan_lines(checked, conditions):
        announce(line)
    return checked, conditions


def print_plan(checked: Preflight, conditions: Conditions) -> None:
    """Print the whole plan as JSON: all that a dry run leaves."""
    if PartialState().is_main_process:
        plan = {**checked.report(), **conditions.report()}
        sys.stdout.write(json.dumps(plan, indent=2, ensure_ascii=False) + "\n")


def make_trainer(
    checked: Preflight, conditions: Conditions, training: FinSFTConfig, base: BaseArguments
) -> FinSFTTrainer:
    """Load the base and put a fresh adapter on it; several tasks go into mixed batches."""
    check_trackers(training)  # before a large base is loaded
    names = [one.name for one in checked.tasks]
    options = {"attn_implementation": base.attn_implementation} if base.attn_implementation else {}
    trainer = FinSFTTrainer(
        model=load_model(
            checked.base_folder,
            quantization=base.quantization,
            device=training.device,
            quant_storage=base.bnb_4bit_quant_storage,
            sharded=Sharding.of(training).shares_base,
            **options,
        ),
        args=training,
        train_dataset=Dataset(pyarrow.table(checked.training_columns())),
        data_collator=XBRLMultiTaskCollator(checked.tokenizer, tasks=names)
        if len(names) > 1
        else None,
        processing_class=checked.tokenizer,
        peft_config=get_peft_config(base),
    )
    room = room_for(
        trainable_parameters(trainer.model),
        checkpoints=checkpoints_at_once(training, steps=conditions.batch.steps),
    )
    require_space(Path(str(training.output_dir)), room)
    return trainer


def require_training(start: ResumePoint | None, training: FinSFTConfig) -> None:
    """Raise UsageError where nothing is left to train, and a base would not be shared out."""
    if start is not None and start.ends_training(training):
        raise UsageError(
            f"'{start.folder}' was left after the last step, and a base that the processes share "
            "out can only be evaluated when there is a step to train.",
            fix="Resume from the checkpoint before it, or train some steps more.",
        )


def evaluate(
    trainer: FinSFTTrainer, checked: Preflight, settings: RunArguments, *, side: str
) -> Evaluations:
    """Evaluate the model on every task's evaluation rows, which the processes share out."""
    found = {}
    for one in checked.tasks:
        rows = one.held_out.rows
        what = f"evaluating the {side}" + (f" on {one.name}" if len(checked.tasks) > 1 else "")
        with (
            trainer.run.together(),
            askable(trainer.model),
            counting(what, len(rows)) as progress,
        ):
            found[one.name] = evaluate_rows(
                trainer.model,
                checked.tokenizer,
                one.contract,
                rows,
                task=one.task,
                batch_size=settings.evaluation_batch_size,
                progress=progress,
                shared=True,
            )
    return found


def evaluate_base(
    trainer: FinSFTTrainer, checked: Preflight, settings: RunArguments
) -> Evaluations:
    """Evaluate the base, without the adapter: training changes nothing about it."""
    with trainer.model.disable_adapter():
        return evaluate(trainer, checked, settings, side="base")


def evaluate_adapter(
    trainer: FinSFTTrainer, checked: Preflight, settings: RunArguments
) -> Evaluations:
    """Bring the adapter to the precision in which it will be stored, and evaluate it."""
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    keep_adapter_whole(model)
    in_stored_precision(model)
    return evaluate(trainer, checked, settings, side="adapter")


def train_to_the_end(
    trainer: FinSFTTrainer, checked: Preflight, *, start: ResumePoint | None
) -> list[Path]:
    """Train; return the checkpoints to be removed when the adapter is written."""
    cut = sum(one.encoded.shortened["rows"] for one in checked.tasks)
    LiveLine(cut=cut).instead_of_others(trainer)
    try:
        temporary = train(trainer, start=start, origin=checked.origin())
    except TrainingInterrupted as stop:
        announce(f"interrupted; continue with --resume_from_checkpoint {stop.checkpoint}")
        raise
    for checkpoint in temporary[-1:]:
        announce(f"trained; {checkpoint} stays until the adapter is written")
    return temporary


def leave_adapter(
    trainer: FinSFTTrainer,
    checked: Preflight,
    *,
    arguments: tuple[RunArguments, FinSFTConfig, BaseArguments],
    before: Evaluations,
    after: Evaluations,
    start: ResumePoint | None,
    temporary: list[Path],
) -> None:
    """Write the adapter with its evidence, tell the scores, and end."""
    settings, training, base = arguments
    finished = FinishedRun(
        preflight=checked,
        model=trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False),
        quantization=base.quantization,
        configuration=configuration(settings, training, base, quantization=base.quantization),
        seed=training.seed,
        cost=trainer.cost,
        evaluations={name: (before[name], after[name]) for name in before},
        resumed=start,
    )
    folder = Path(str(training.output_dir)) / "adapter"
    with trainer.run.together():
        finished.write(folder, writes=trainer.accelerator.is_main_process)
    if trainer.accelerator.is_main_process:
        forget(temporary)
        for line in score_lines(finished):
            announce(line)
        sys.stdout.write(f"{folder}\n")
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
