"""Fine-tune a base on one classification task, evaluate both, leave an adapter with evidence.

accelerate launch -m fin_qlora.recipes.classification \
    --config classification/tfns-tiny-4bit-r4 --data_dir DATA
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..exits import run_guarded
from ..offline import quiet_environment


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe; every process of a distributed launch does."""
    quiet_environment()  # before anything below imports the libraries that read it

    import torch
    from accelerate import PartialState
    from datasets import Dataset
    from trl import get_peft_config

    from ..evaluation import Evaluation, evaluate_rows
    from ..evidence.cost import CostMeter
    from ..models.base import Quantization, load_model
    from ..models.lora import in_stored_precision
    from ..tasks import get
    from ..training import FinSFTTrainer
    from ..training.adapter_folder import FinishedRun
    from ..training.preflight import run_preflight
    from ..training.processes import check_world, use_cores
    from .arguments import parse
    from .progress import announce, counting

    # settings
    settings, training, base = parse(arguments)
    quantization: Quantization = (
        "4bit" if base.load_in_4bit else "8bit" if base.load_in_8bit else "none"
    )
    task = get(settings.task)
    contract = task.contract(settings.form)

    check_world(training.world_size)
    use_cores(settings.cpu_threads)

    # preflight: every row is encoded and checked
    checked = run_preflight(
        task,
        contract,
        base=str(base.model_name_or_path),
        base_revision=base.model_revision,
        data_dir=Path(settings.data_dir) if settings.data_dir else None,
        synthetic_seed=settings.synthetic_seed,
        max_length=training.max_length,
    )
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
        quantization=quantization,
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
            )

    # train
    trainer = FinSFTTrainer(
        model=model,
        args=training,
        train_dataset=Dataset.from_list([asdict(example) for example in checked.encoded.examples]),
        processing_class=tokenizer,
        peft_config=get_peft_config(base),
    )
    main_process = trainer.accelerator.is_main_process
    if main_process:
        with trainer.model.disable_adapter():
            base_evaluation = evaluate("base")
    trainer.accelerator.wait_for_everyone()
    with CostMeter() as cost:
        trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)

    # evaluate what will be published, and leave it with its evidence
    if main_process:
        tuned = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        in_stored_precision(tuned)
        finished = FinishedRun(
            preflight=checked,
            model=tuned,
            quantization=quantization,
            configuration=_configuration(settings, training, base, quantization),
            seed=training.seed,
            cost=cost,
            gpus=trainer.accelerator.num_processes if torch.cuda.is_available() else 0,
            base_evaluation=base_evaluation,
            adapter_evaluation=evaluate("adapter"),
        )
        folder = Path(str(training.output_dir)) / "adapter"
        finished.write(folder)
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


def _configuration(settings: Any, training: Any, base: Any, quantization: str) -> dict[str, Any]:
    return {
        "form": settings.form,
        "quantization": quantization,
        "lora_r": base.lora_r,
        "lora_alpha": base.lora_alpha,
        "lora_dropout": base.lora_dropout,
        "lora_target_modules": sorted(base.lora_target_modules or []),
        "use_rslora": base.use_rslora,
        "use_dora": base.use_dora,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": str(
            getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type)
        ),
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "optim": str(getattr(training.optim, "value", training.optim)),
        "num_train_epochs": training.num_train_epochs,
        "max_steps": training.max_steps,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "world_size": training.world_size,
        "max_length": training.max_length,
        "adapter_dtype": training.adapter_dtype,
        "bf16": training.bf16,
        "synthetic_seed": settings.synthetic_seed,
    }


if __name__ == "__main__":
    sys.exit(run_guarded(main))
