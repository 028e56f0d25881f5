"""Evaluate a base or an adapter on one or several tasks, and leave figures and rows.

accelerate launch -m fin_qlora.recipes.evaluation \
    --config evaluation/demo-tiny --out runs/tiny

torchrun --nproc_per_node 2 -m fin_qlora.recipes.evaluation \
    --config evaluation/six_sets-70b-8bit --data_dir DATA --pipeline_stages 2
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ..exits import run_guarded
from ..offline import quiet_environment

if TYPE_CHECKING:
    from pathlib import Path

    from ..evaluation import Evaluation
    from ..evaluation.run import Questioning
    from ..evaluation.subject import Subject
    from .evaluation_arguments import EvaluationArguments


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe; every process of a distributed launch does."""
    quiet_environment()  # before anything below imports the libraries that read it
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    import torch
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    from ..training.running.processes import check_world, use_cores
    from .evaluation_arguments import parse_evaluation

    # settings
    given = parse_evaluation(arguments)
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu)
    check_world(state.num_processes)
    use_cores(given.cpu_threads)

    # results
    found = evaluate_model(given)
    if state.is_main_process:
        tell(found, out=given.folder)
    state.wait_for_everyone()
    state.destroy_process_group()


def evaluate_model(given: EvaluationArguments) -> list[Evaluation]:
    """Evaluate a model on every task, and leave the results where they are asked for.

    Every process of a launch must call; the first one writes.

    Raises:
        UsageError, DataError, EnvironmentFault, HubError: what is wrong is named; rows that are
            finished are kept.
    """
    from ..evaluation.run import check_rows, evaluate_all, questions
    from .progress import announce, first_on_each_machine, rows_and_rate

    # model, if there is something to ask it
    check_rows(given.settings)
    with first_on_each_machine():
        fetched(given)
    subject = opened(given)
    for line in subject.model.split.lines() if subject.staged else ():
        announce(line)

    # tasks and their rows
    settings = given.settings
    asked = questions(subject, settings)
    if given.folder is not None:
        make_way(given.folder, subject, asked, given)

    # answers
    try:
        with subject.held():
            found = evaluate_all(subject, asked, settings, out=given.folder, counting=rows_and_rate)
    except KeyboardInterrupt:
        if given.folder is not None:
            announce("interrupted; finished rows are kept, and the same command goes on")
        raise

    # figures, rows and claims
    if given.folder is not None:
        leave_results(given.folder, asked, found)
    return found


def fetched(given: EvaluationArguments) -> None:
    """Download what is missing here, so that the processes of a machine do it once."""
    from ..evaluation.subject import fetch_subject

    fetch_subject(given.model, revision=given.revision)


def opened(given: EvaluationArguments) -> Subject:
    """Load the model, its layers spread over the processes where stages are asked for."""
    from ..evaluation.subject import open_subject

    return open_subject(
        given.model,
        revision=given.revision,
        quantization=given.quantization,
        stages=given.pipeline_stages,
    )


def make_way(
    out: Path, subject: Subject, asked: list[Questioning], given: EvaluationArguments
) -> None:
    """Refuse a folder with results of another evaluation, or forget them where that is asked."""
    from ..evaluation.results import check_out, forget
    from ..evaluation.run import identity_of
    from .progress import first_on_each_machine

    identities = {one.task.name: identity_of(subject, one, given.settings) for one in asked}
    with first_on_each_machine():
        if given.restart:
            forget(out, list(identities))
        check_out(out, identities)


def leave_results(out: Path, asked: list[Questioning], found: list[Evaluation]) -> None:
    """Write figures, rows and what may be claimed on a hub."""
    import json

    from accelerate import PartialState

    from ..evaluation.results import write_results
    from ..publishing.eval_results import write_eval_results

    if PartialState().is_main_process:
        results = json.loads(write_results(out, found).read_text(encoding="utf-8"))
        entries = {entry["task"]: entry for entry in results["tasks"]}
        for one in asked:
            entry = entries[one.task.name]
            write_eval_results(out, entry, date=results["created"], task=one.task)
    PartialState().wait_for_everyone()


def tell(found: list[Evaluation], *, out: Path | None) -> None:
    """Say each task's accuracy with its interval and the baseline, and where the rest is."""
    from .progress import announce

    for one in found:
        interval = one.intervals["accuracy"]["cluster_bootstrap"]
        announce(
            f"{one.task}: accuracy {one.scores.accuracy:.4f} "
            f"({interval['low']:.4f} to {interval['high']:.4f}) on {one.scores.n:,} rows; always "
            f"the commonest answer {one.scores.majority:.4f}"
        )
        pipeline = one.cost.get("pipeline")
        if pipeline and pipeline["bubble"] is not None:
            announce(
                f"{len(pipeline['stages'])} stages, micro-batches of a batch: "
                f"{pipeline['micro_batches']}; idle for {pipeline['bubble']:.0%} of the time"
            )
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    sys.exit(run_guarded(main))
