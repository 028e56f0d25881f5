"""An evaluation that processes share gives what one process gives, row for row."""

from __future__ import annotations

import json

PROGRAM = """
import json, sys
from pathlib import Path
import torch
from accelerate import PartialState
from fin_qlora import tasks
from fin_qlora.evaluation import evaluate_rows
from fin_qlora.models.base import load_model, load_tokenizer

folder, base, *cases = sys.argv[1:]
torch.set_num_threads(1)
state = PartialState(cpu=True)
tokenizer = load_tokenizer(Path(base))
model = load_model(Path(base), quantization="none")
seen = []
for case in cases:
    name, rows = case.split(":")
    task, done = tasks.get(name), []
    answers = task.label_names or ("us-gaap:Cash", "us-gaap:Debt", "us-gaap:Assets")
    texts = [" ".join(["Shares rose"] * (1 + i * 7 % 13)) + f" {i}" for i in range(int(rows))]
    made = [
        {"text": text, "entity": str(i), "label": answers[i % 3]} for i, text in enumerate(texts)
    ]
    result = evaluate_rows(
        model, tokenizer, task.contract(), made,
        task=task, batch_size=4, progress=done.append, shared=True,
    )
    seen.append({"rows": result.rows, "figures": result.scores.figures(), "done": done})
Path(f"{folder}/{state.process_index}.json").write_text(json.dumps(seen))
state.destroy_process_group()
"""
#: Fewer batches than processes, a last batch that is not full, and answers that are written.
CASES = {"tfns:3": 3, "tfns:30": 30, "finer:30": 30}


def test_rows_scores_and_order_are_those_of_one_process(launch, small_base):
    alone = launch(PROGRAM, small_base, *CASES, profile="single")
    shared = launch(PROGRAM, small_base, *CASES, profile="cpu-ddp-2")
    (one,) = [json.loads(file.read_text("utf-8")) for file in alone.glob("*.json")]
    both = [json.loads((shared / f"{n}.json").read_text("utf-8")) for n in (0, 1)]
    for expected, first, second, rows in zip(one, *both, CASES.values(), strict=True):
        assert first["rows"] == second["rows"]
        for row in (*expected["rows"], *first["rows"], *second["rows"]):
            row.pop("seconds")  # all else is the same
        assert first["rows"] == second["rows"] == expected["rows"]
        assert len(expected["rows"]) == rows
        assert first["figures"] == expected["figures"]
        assert max(first["done"]) <= rows
    assert len({row["output"] for row in one[2]["rows"]}) > 1
