"""A trainer of a small random model on a few rows."""

from __future__ import annotations

import pytest
from datasets import Dataset
from peft import LoraConfig

from fin_qlora import FinSFTConfig, FinSFTTrainer, tasks
from fin_qlora.models.base import load_model

CONTRACT = tasks.get("tfns").contract()
TEXTS = ["Shares rose.", "Profit fell after a warning.", "x", "No change at all today", "up", "dn"]
ROWS = [(text, CONTRACT.labels[i % 3]) for i, text in enumerate(TEXTS * 4)]


@pytest.fixture
def make(small_base, tokenizer, tmp_path):
    def build(
        *,
        rows=ROWS,
        quantization="none",
        collator=None,
        dataset=None,
        options=None,
        tokenizer_used=None,
        lora=None,
        **settings,
    ):
        examples = [CONTRACT.encode(tokenizer, text, label) for text, label in rows]
        data = (
            dataset
            if dataset is not None
            else Dataset.from_list(
                [{"input_ids": e.input_ids, "labels": e.labels} for e in examples]
            )
        )
        defaults = {
            "output_dir": str(tmp_path),
            "max_steps": 4,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "disable_tqdm": True,
        }
        return FinSFTTrainer(
            model=load_model(small_base, quantization=quantization),
            args=FinSFTConfig(**(defaults | settings)),
            train_dataset=data,
            processing_class=tokenizer_used or tokenizer,
            data_collator=collator,
            peft_config=LoraConfig(
                **(
                    {
                        "r": 4,
                        "lora_alpha": 32,
                        "lora_dropout": 0.0,
                        "target_modules": ["q_proj", "v_proj"],
                    }
                    | (lora or {})
                )
            ),
            **(options or {}),
        )

    build.tokenizer = tokenizer
    return build
