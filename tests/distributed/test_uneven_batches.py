"""Two processes whose batches are not alike: both say what is wrong, and rows count once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fin_qlora.files import shipped

PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from datasets import Dataset
from peft import LoraConfig
from fin_qlora import FinSFTConfig, FinSFTTrainer, XBRLMultiTaskCollator
from fin_qlora.errors import DataError
from fin_qlora.models.base import load_model, load_tokenizer

folder, base, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(os.environ["RANK"])
torch.set_num_threads(1)
tokenizer = load_tokenizer(base)


def rows(count):
    found = []
    for i in range(count):
        ids = [1, 100 + i, *range(20, 24 + 3 * i)]
        labels = [-100] * (len(ids) - 1) + [ids[-1]]
        found.append({"input_ids": ids, "labels": labels, "task": "ab"[i % 2]})
    return Dataset.from_list(found)


class Collator:
    def __init__(self, *, spoilt=False):
        self.collate = XBRLMultiTaskCollator(tokenizer, tasks=("a", "b"))
        self.task_ids, self.spoilt = self.collate.task_ids, spoilt

    def __call__(self, examples):
        batch = self.collate(examples)
        if self.spoilt:
            batch["labels"].fill_(-100)
        return batch


def trainer(name, count, *, spoilt=False, held_out=None):
    return FinSFTTrainer(
        model=load_model(base, quantization="none"),
        args=FinSFTConfig(
            output_dir=str(folder / name), use_cpu=True, num_train_epochs=1, bf16=False,
            per_device_train_batch_size=2, per_device_eval_batch_size=2, logging_steps=1,
            disable_tqdm=True,
        ),
        train_dataset=rows(count),
        eval_dataset=held_out,
        processing_class=tokenizer,
        data_collator=Collator(spoilt=spoilt),
        peft_config=LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.0),
    )


found = {}
try:
    trainer("spoilt", 8, spoilt=rank == 1).train()
except DataError as error:
    found["spoilt"] = str(error)

held_out = rows(5)
evaluated = trainer("evaluated", 9, held_out=held_out)
counted = []
count = evaluated._get_num_items_in_batch
evaluated._get_num_items_in_batch = lambda batches, device: counted.append(
    int(count(batches, device))
) or torch.tensor(counted[-1])
seen = evaluated.evaluate()
found["by task"] = [seen["eval_loss/a"], seen["eval_loss/b"]]
wanted = {"a": [], "b": []}
evaluated.model.eval()
for row in held_out:
    ids = torch.tensor([row["input_ids"]])
    with torch.no_grad():
        logits = evaluated.model(input_ids=ids).logits[0, -2].float()
    wanted[row["task"]].append(float(-logits.log_softmax(-1)[ids[0, -1]]))
found["wanted"] = [sum(losses) / len(losses) for losses in wanted.values()]
evaluated.train()
found["counted"] = counted
found["trained tokens"] = evaluated.cost.trained_tokens
(folder / f"rank-{rank}.json").write_text(json.dumps(found))
evaluated.accelerator.end_training()
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, small_base):
    folder = tmp_path_factory.mktemp("uneven")
    program = folder / "program.py"
    program.write_text(PROGRAM, "utf-8")
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--config_file", str(shipped("recipes") / "accelerate" / "cpu-ddp-2.yaml")),
        *(str(program), str(folder), str(small_base)),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"rank-{rank}.json").read_text("utf-8")) for rank in (0, 1)]


def test_a_batch_without_answers_on_one_process_ends_both(ranks):
    for rank in ranks:
        assert "A batch of step 1 has no trained token" in rank["spoilt"]


def test_an_evaluation_counts_no_row_twice(ranks):
    # 5 rows in batches of 2 on two processes: three rows are read again
    for rank in ranks:
        assert rank["by task"] == pytest.approx(rank["wanted"], rel=2e-2)


def test_a_row_that_both_processes_read_is_trained_once(ranks):
    # 9 rows with one trained token: two steps of 4, and a step of 1
    for rank in ranks:
        assert rank["counted"] == [4, 4, 1]
        assert rank["trained tokens"] == 9
