"""Two processes: each row once an epoch, on one of them, also when resumed; and of one data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import chain

import pytest

from fin_qlora.files import shipped

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from datasets import Dataset
from peft import LoraConfig
from fin_qlora import FinSFTConfig, FinSFTTrainer, XBRLMultiTaskCollator
from fin_qlora.errors import DataError
from fin_qlora.models.base import load_model, load_tokenizer

folder, base, rank = Path(sys.argv[1]), Path(sys.argv[2]), int(__import__("os").environ["RANK"])
torch.set_num_threads(1)
tokenizer = load_tokenizer(base)


def rows(first):
    found = []
    for i in range(27):
        length = 4 + 5 * (i % 7)
        ids = [1, 100 + i, *range(first, first + length)]
        labels = [-100] * (length + 1) + [ids[-1]]
        found.append({"input_ids": ids, "labels": labels, "task": "aab"[i % 3]})
    return Dataset.from_list(found)


class Recorder:
    def __init__(self):
        self.collate = XBRLMultiTaskCollator(tokenizer, tasks=("a", "b"))
        self.task_ids, self.seen = self.collate.task_ids, []

    def __call__(self, examples):
        self.seen.append([example["input_ids"][1] - 100 for example in examples])
        return self.collate(examples)


def trainer(data, rule):
    recorder = Recorder()
    made = FinSFTTrainer(
        model=load_model(base, quantization="none"),
        args=FinSFTConfig(
            output_dir=str(folder / rule), use_cpu=True, num_train_epochs=2, global_batch_size=8,
            per_device_train_batch_size=2, task_sampling=rule, task_weights={"b": 2.0},
            logging_steps=1, disable_tqdm=True, save_strategy="steps", save_steps=5,
        ),
        train_dataset=data,
        processing_class=tokenizer,
        data_collator=recorder,
        peft_config=LoraConfig(r=2, target_modules=["q_proj"], lora_dropout=0.0),
    )
    return made, recorder


found = {}
for rule in ("proportional", "equal"):
    whole, recorder = trainer(rows(20), rule)
    whole.train()
    found[rule] = recorder.seen
    found["steps"] = [whole.state.global_step, whole.args.gradient_accumulation_steps]
resumed, recorder = trainer(rows(20), "equal")
resumed.train(resume_from_checkpoint=str(folder / "equal" / "checkpoint-5"))
found["resumed"] = recorder.seen
other, _ = trainer(rows(20 + rank), "proportional")
try:
    other.train()
except DataError as error:
    found["other data"] = str(error)
(folder / f"rank-{rank}.json").write_text(json.dumps(found))
other.accelerator.end_training()
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, small_base):
    """What each of two processes read."""
    folder = tmp_path_factory.mktemp("row-order")
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


def test_each_row_is_read_once_an_epoch_by_one_process(ranks):
    # 27 rows: three steps of 8 in two turns, and a step of 3 in one turn
    turns = 3 * 2 + 1
    orders = []
    for epoch in (slice(0, turns), slice(turns, 2 * turns)):
        sides = [list(chain(*rank["proportional"][epoch])) for rank in ranks]
        assert sorted(chain(*sides)) == list(range(27))
        assert not set(sides[0]) & set(sides[1])
        orders.append(sides)
    assert orders[0] != orders[1]
    for rank in ranks:
        assert len(rank["proportional"]) == 2 * turns
        assert rank["steps"] == [2 * 4, 2]


def test_both_processes_follow_the_rule(ranks):
    counts = Counter(row % 3 == 2 for rank in ranks for batch in rank["equal"] for row in batch)
    # 27 rows an epoch: 13 of one task and 14 of the other
    assert sorted(counts.values()) == [26, 28]


def test_a_resumed_run_reads_what_the_whole_run_read_then(ranks):
    # five steps: an epoch of seven turns, and two more turns
    for rank in ranks:
        assert rank["resumed"] == rank["equal"][7 + 2 :]


def test_processes_with_other_rows_both_say_so(ranks):
    for rank in ranks:
        assert "do not train on the same data: the rows of process 1" in rank["other data"]
