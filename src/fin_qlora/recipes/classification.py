"""Fine-tune a base on one classification task, evaluate both, leave an adapter with evidence.

accelerate launch -m fin_qlora.recipes.classification \
    --config classification/tfns-tiny-4bit-r4 --data_dir DATA
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ..exits import run_guarded
from ..offline import quiet_environment


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe; every process of a distributed launch does."""
    quiet_environment()  # before anything below imports the libraries that read it

    import pyarrow
    import torch
    from accelerate import PartialState
    from datasets import Dataset
    from trl import get_peft_config

    from ..data.encode_cache import EncodedCache
    from ..evaluation import Evaluation, evaluate_rows
    from ..evidence.cost import CostMeter
    from ..models.base import load_model
    from ..models.lora import in_stored_precision, trainable_parameters
    from ..tasks import get
    from ..training import FinSFTTrainer
    from ..training.adapter_folder import FinishedRun
    from ..training.checkpoints import TrainingInterrupted, forget, resume_point, train
    from ..training.preflight import require_space, room_for, run_preflight
    from ..training.processes import check_world, use_cores
    from .arguments import parse
    from .configuration import configuration
    from .progress import announce, counting, first_on_each_machine

    # settings
    settings, training, base = parse(arguments)
    task = get(settings.task)
    output_dir = Path(str(training.output_dir))
    start = resume_point(training.resume_from_checkpoint, output_dir=output_dir)

    check_world(training.world_size)
    use_cores(settings.cpu_threads)

    # preflight: there is room, and every row is encoded and checked, once on each machine
    require_space(output_dir, room_for())
    with first_on_each_machine():
        checked = run_preflight(
            task,
            task.contract(settings.form),
            base=str(base.model_name_or_path),
            base_revision=base.model_revision,
            data_dir=Path(settings.data_dir) if settings.data_dir else None,
            synthetic_seed=settings.synthetic_seed,
            max_length=training.max_length,
            on_overlong=settings.on_overlong,
            shots=settings.shots,
            shots_seed=settings.shots_seed,
            cache=EncodedCache(),
        )
    contract = checked.contract
    for line in _plan(checked.report()):
        announce(line)
    if settings.dry_run:
        if PartialState().is_main_process:
            sys.stdout.write(json.dumps(checked.report(), indent=2) + "\n")
        return

    # model
    tokenizer, rows = checked.tokenizer, checked.held_out.rows
    model = load_model(
        checked.base_folder,
        quantization=base.quantization,
        device=training.device,
        **({"attn_implementation": base.attn_implementation} if base.attn_implementation else {}),
    )

    def evaluate(side: str) -> Evaluation:
        with counting(f"evaluating the {side}", len(rows)) as progress:
            return evaluate_rows(
                trainer.model,
                tokenizer,
                contract,
                rows,
                task=task.name,
                batch_size=settings.evaluation_batch_size,
                progress=progress,
                shared=True,
            )

    # train
    trainer = FinSFTTrainer(
        model=model,
        args=training,
        train_dataset=Dataset(pyarrow.table(checked.encoded.training_columns())),
        processing_class=tokenizer,
        peft_config=get_peft_config(base),
    )
    require_space(output_dir, room_for(trainable_parameters(trainer.model)))
    with trainer.model.disable_adapter():
        base_evaluation = evaluate("base")
    try:
        with CostMeter() as cost:
            temporary = train(trainer, start=start)
    except TrainingInterrupted as stop:
        announce(f"interrupted; continue with --resume_from_checkpoint {stop.checkpoint}")
        raise
    for checkpoint in temporary[-1:]:
        announce(f"trained; {checkpoint} stays until the adapter is written")

    # evaluate what will be published, and leave it with its evidence
    tuned = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    in_stored_precision(tuned)
    adapter_evaluation = evaluate("adapter")
    if trainer.accelerator.is_main_process:
        finished = FinishedRun(
            preflight=checked,
            model=tuned,
            quantization=base.quantization,
            configuration=configuration(settings, training, base, quantization=base.quantization),
            seed=training.seed,
            cost=cost,
            gpus=trainer.accelerator.num_processes if torch.cuda.is_available() else 0,
            base_evaluation=base_evaluation,
            adapter_evaluation=adapter_evaluation,
            resumed=start,
        )
        folder = output_dir / "adapter"
        finished.write(folder)
        forget(temporary)
        for line in _results(finished):
            announce(line)
        sys.stdout.write(f"{folder}\n")
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


def _plan(report: dict[str, Any]) -> list[str]:
    lines = [f"task {report['task']}" + (" (synthetic data)" if report["synthetic"] else "")]
    for split in ("train", "evaluation"):
        table = report[split]
        counts = ", ".join(f"{label} {n}" for label, n in table["labels"].items())
        dropped = "".join(f"; left out: {n} ({why})" for why, n in table["dropped"].items())
        partial = " (a part of the published rows)" if table["partial_file"] else ""
        lines.append(f"{split}: {table['rows']} rows{partial}: {counts}{dropped}")
    lines.append(
        f"longest row {report['longest_row_tokens']} tokens, mean {report['mean_row_tokens']}; "
        f"{report['trained_tokens']} trained tokens"
        + (f"; {report['shots']} worked examples in every prompt" if report["shots"] else "")
    )
    for split, cut in report["shortened"].items():
        if cut["rows"]:
            lines.append(
                f"{split}: rows shortened: {cut['rows']}, by {cut['tokens']} tokens in all"
                + (f", {cut['facts']} distractor facts" if cut["facts"] else "")
            )
    return lines


def _results(finished: Any) -> list[str]:
    base, tuned = finished.base_evaluation.scores, finished.adapter_evaluation.scores
    return [
        f"{tuned.n} evaluation rows, majority class {tuned.majority:.4f}",
        f"base     accuracy {base.accuracy:.4f}  weighted F1 {base.weighted_f1:.4f}",
        f"adapter  accuracy {tuned.accuracy:.4f}  weighted F1 {tuned.weighted_f1:.4f}",
        f"trained in {finished.cost.seconds:.1f} s",
    ]


if __name__ == "__main__":
    sys.exit(run_guarded(main))
