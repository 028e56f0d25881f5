"""One process of small fine-tunings: finetune.py FOLDER BASE RUNS.

RUNS is a JSON object of names and the FinSFTConfig settings of each, of which ``full`` names a file
of the second checkpoint for which there is no space; DeepSpeed wants a launch for each. What this
rank saw of a run goes to FOLDER/NAME/RANK.json, its trained weights to RANK.pt, and an error of
ours to RANK.error.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback

from fin_qlora import FinSFTConfig, FinSFTTrainer, tasks
from fin_qlora.errors import FinQloraError
from fin_qlora.models.base import load_model, load_tokenizer

TEXTS = ("Shares rose.", "Profit fell after a warning that was long.", "x", "No change", "up")
LORA = LoraConfig(
    r=4, lora_alpha=32, lora_dropout=0.0, target_modules=["q_proj", "k_proj", "v_proj"]
)


class FullDisk(FinSFTTrainer):
    """Its second checkpoint has a file that no byte fits into."""

    file = ""

    def save_model(self, output_dir=None, **options) -> None:
        if self.args.should_save and Path(output_dir).name.endswith("-2"):
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            (Path(output_dir) / self.file).symlink_to("/dev/full")
        super().save_model(output_dir, **options)


class Evaluated(TrainerCallback):
    """Keeps a number for the weights that an evaluation has seen."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_evaluate(self, args, state, control, model=None, **_) -> None:
        trained = [p.detach().double() for p in model.parameters() if p.requires_grad]
        self.seen.append(sum(float(p.square().sum()) for p in trained))


def finetune(folder: Path, base: Path, settings: dict) -> None:
    resume = settings.pop("resume", None)
    FullDisk.file = settings.pop("full", "")
    kind = FullDisk if FullDisk.file else FinSFTTrainer
    evaluated = Evaluated()
    config = FinSFTConfig(
        **{
            "output_dir": str(folder / "run"),
            "learning_rate": 5e-3,
            "lr_scheduler_type": "constant",
            "max_steps": 12,
            "per_device_train_batch_size": 4,
            "train_sampling_strategy": "sequential",
            "logging_steps": 1,
            "disable_tqdm": True,
            **settings,
        }
    )
    tokenizer = load_tokenizer(base)
    contract = tasks.get("tfns").contract()
    examples = [contract.encode(tokenizer, TEXTS[i % 5], contract.labels[i % 3]) for i in range(96)]
    rows = Dataset.from_list([{"input_ids": e.input_ids, "labels": e.labels} for e in examples])
    trainer = kind(
        model=load_model(base, quantization="4bit"),
        args=config,
        train_dataset=rows,
        eval_dataset=rows.select(range(8)),
        processing_class=tokenizer,
        peft_config=LORA,
        callbacks=[evaluated],
    )
    trainer.train(resume_from_checkpoint=resume)
    trained = {
        n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad
    }
    rank = trainer.accelerator.process_index
    optimizer = trainer.zero_one
    stage = (
        trainer.model_wrapped.zero_optimization_stage() if trainer.is_deepspeed_enabled else None
    )
    seen = {
        "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
        "evaluations": [e["eval_loss"] for e in trainer.state.log_history if "eval_loss" in e],
        "evaluated": evaluated.seen,
        "optim": trainer.args.optim,
        "frozen": optimizer is not None and optimizer.frozen,
        "interval": optimizer.interval if optimizer is not None else None,
        "stage": stage,
    }
    (folder / f"{rank}.json").write_text(json.dumps(seen), "utf-8")
    torch.save(trained, folder / f"{rank}.pt")


def main(folder: Path, base: Path, runs: dict[str, dict]) -> None:
    torch.set_num_threads(1)
    for name, settings in runs.items():
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        try:
            finetune(place, base, settings)
        except FinQloraError as error:
            rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
            (place / f"{rank}.error").write_text(f"{type(error).__name__}: {error}", "utf-8")
    gc.collect()  # what still holds a group when it is destroyed may abort the process at its end
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
