"""Small runs that end with an adapter folder, without a recipe around them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from datasets import Dataset
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from fin_qlora import FinSFTConfig, FinSFTTrainer, tasks
from fin_qlora.evaluation import evaluate_rows
from fin_qlora.evidence.cost import ProcessCost, RunCost
from fin_qlora.models.base import load_model
from fin_qlora.models.lora import in_stored_precision
from fin_qlora.training.checks.preflight import run_preflight
from fin_qlora.training.result.adapter_folder import FinishedRun


@pytest.fixture(scope="session")
def decided_base(small_base, tmp_path_factory) -> Path:
    """The small base with a head of larger weights, so that it can be sure of a word."""
    folder = shutil.copytree(small_base, tmp_path_factory.mktemp("base") / "decided")
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] *= 16
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def run_on(small_base) -> Callable[..., FinishedRun]:
    """Train on the tasks of a data folder and leave its folder ``adapter``."""

    def run(
        *names: str,
        data_dir: Path,
        base: Path = small_base,
        steps: int = 8,
        learning_rate: float = 2e-2,
        quantization: str = "4bit",
        modules: tuple[str, ...] = ("v_proj", "q_proj"),
    ) -> FinishedRun:
        checked = run_preflight(
            [(tasks.get(name), tasks.get(name).contract()) for name in names],
            base=str(base),
            base_revision=None,
            data_dir=data_dir,
            synthetic_seed=0,
            max_length=None,
        )
        columns = checked.training_columns()
        columns.pop("task", None)  # one loss for all: what is tested here is what comes of it
        trainer = FinSFTTrainer(
            model=load_model(base, quantization=quantization),
            args=FinSFTConfig(
                output_dir=str(data_dir / "out"),
                max_steps=steps,
                learning_rate=learning_rate,
                per_device_train_batch_size=8,
                disable_tqdm=True,
            ),
            train_dataset=Dataset(pyarrow.table(columns)),
            processing_class=checked.tokenizer,
            peft_config=LoraConfig(r=4, lora_alpha=32, target_modules=list(modules)),
        )

        def score():
            return [
                evaluate_rows(
                    trainer.model,
                    checked.tokenizer,
                    one.contract,
                    one.held_out.rows,
                    task=one.task,
                )
                for one in checked.tasks
            ]

        with trainer.model.disable_adapter():
            before = score()
        trainer.train()
        tuned = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        in_stored_precision(tuned)
        finished = FinishedRun(
            preflight=checked,
            model=tuned,
            quantization=quantization,
            configuration={"lora_r": 4, "quantization": quantization},
            seed=42,
            cost=RunCost.of(
                [ProcessCost(rank=0, resident_peak_bytes=1)],
                seconds=1.0,
                trained_tokens=1,
                seen_tokens=1,
            ),
            evaluations=dict(zip(names, zip(before, score(), strict=True), strict=True)),
        )
        finished.write(data_dir / "adapter")
        return finished

    return run
